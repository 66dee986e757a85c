//! Conditions and ranges as a client meets them. Their tables are unit tests; here is what is sent for each outcome.

use crate::common::{BEFORE, DATE, Folder, Reply, Web};

const FILE: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

fn sites() -> (Folder, [Web; 2]) {
    let folder = Folder::new();
    folder.write("f.txt", FILE);
    folder.write("empty", "");
    let webs = folder.sites(|files| files.cache_control("no-cache"));
    (folder, webs)
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let (_folder, webs) = sites();
    for web in webs {
        let tag = web.get("/f.txt").need("ETag").to_owned();
        for (name, value) in
            [("If-None-Match", tag.as_str()), ("If-None-Match", "*"), ("If-Modified-Since", DATE)]
        {
            for method in ["GET", "HEAD"] {
                let reply = web.ask_with(method, "/f.txt", &[(name, value)]);
                assert_eq!((reply.status, reply.body.len()), (304, 0), "{name}: {value}");
                assert_eq!((reply.need("ETag"), reply.need("Cache-Control")), (tag.as_str(), "no-cache"));
                assert_eq!((reply.field("Content-Length"), reply.field("Content-Type")), (None, None));
            }
        }
        for (name, value) in
            [("If-None-Match", "\"other\""), ("If-Modified-Since", BEFORE), ("If-Match", &tag)]
        {
            assert_eq!(web.get_with("/f.txt", name, value).text(), FILE, "{name}: {value}");
        }
        let index = web.get_with("/missing", "If-None-Match", "*");
        assert_eq!(index.status, 404, "a condition is on what is there");
    }
}

#[test]
fn a_file_that_is_not_the_one_meant_is_refused() {
    let (_folder, webs) = sites();
    for web in webs {
        for (name, value) in [("If-Match", "\"other\""), ("If-Unmodified-Since", BEFORE)] {
            assert_eq!(web.get_with("/f.txt", name, value).status, 412, "{name}");
        }
    }
}

#[test]
fn one_range_is_the_body() {
    let (_folder, webs) = sites();
    for web in webs {
        for (range, body, field) in [
            ("bytes=0-0", "0", "bytes 0-0/36"),
            ("bytes=10-12", "abc", "bytes 10-12/36"),
            ("bytes=33-", "xyz", "bytes 33-35/36"),
            ("bytes=-2", "yz", "bytes 34-35/36"),
            ("bytes=30-100", "uvwxyz", "bytes 30-35/36"),
            ("bytes=-100", FILE, "bytes 0-35/36"),
            ("bytes=0-4,5-9", "0123456789", "bytes 0-9/36"),
            ("bytes=35-,99-", "z", "bytes 35-35/36"),
        ] {
            let reply = web.get_with("/f.txt", "Range", range);
            assert_eq!(
                (reply.status, reply.text(), reply.need("Content-Range")),
                (206, body, field),
                "{range}"
            );
            assert_eq!(reply.need("Content-Type"), "text/plain; charset=utf-8");
            assert_eq!(reply.need("Content-Length"), body.len().to_string());
            assert_eq!(reply.need("ETag"), web.get("/f.txt").need("ETag"));
        }
    }
}

#[test]
fn a_range_that_means_nothing_is_ignored() {
    let (_folder, webs) = sites();
    let many: String = (0..17).map(|at| format!("{0}-{0},", at * 2)).collect();
    for web in webs {
        for range in ["bytes=5-1", "bytes=x", "lines=0-1", "bytes=", &format!("bytes={many}")] {
            let reply = web.get_with("/f.txt", "Range", range);
            assert_eq!(
                (reply.status, reply.text(), reply.field("Content-Range")),
                (200, FILE, None),
                "{range}"
            );
        }
        let reply = web.ask_with("HEAD", "/f.txt", &[("Range", "bytes=0-1")]);
        assert_eq!((reply.status, reply.need("Content-Length")), (200, "36"), "RFC 9110 14.2: for GET only");
        let reply = web.get_with("/empty", "Range", "bytes=-1");
        assert_eq!((reply.status, reply.body.len(), reply.need("Content-Length")), (200, 0, "0"));
    }
}

#[test]
fn a_range_beyond_the_end_is_told_where_the_end_is() {
    let (_folder, webs) = sites();
    for web in webs {
        for (target, range, field) in [
            ("/f.txt", "bytes=36-", "bytes */36"),
            ("/f.txt", "bytes=-0", "bytes */36"),
            ("/f.txt", "bytes=99-100,50-", "bytes */36"),
            ("/empty", "bytes=0-", "bytes */0"),
        ] {
            let reply = web.get_with(target, "Range", range);
            assert_eq!((reply.status, reply.need("Content-Range")), (416, field), "{range}");
        }
    }
}

#[test]
fn a_range_of_another_version_is_the_whole_of_this_one() {
    let (_folder, webs) = sites();
    for web in webs {
        let tag = web.get("/f.txt").need("ETag").to_owned();
        for (validator, status) in
            [(tag.as_str(), 206), (DATE, 206), ("\"other\"", 200), (BEFORE, 200), (&format!("W/{tag}"), 200)]
        {
            let reply = web.ask_with("GET", "/f.txt", &[("Range", "bytes=0-1"), ("If-Range", validator)]);
            assert_eq!(reply.status, status, "{validator}");
        }
        let beyond = web.ask_with("GET", "/f.txt", &[("Range", "bytes=99-"), ("If-Range", "\"other\"")]);
        assert_eq!(beyond.status, 200, "a range that does not count cannot be wrong");
    }
}

/// The parts of a multipart body, as `(head, bytes)`.
fn parts(reply: &Reply) -> Vec<(String, Vec<u8>)> {
    let boundary =
        reply.need("Content-Type").strip_prefix("multipart/byteranges; boundary=").expect("several parts");
    assert_eq!(reply.need("Content-Length"), reply.body.len().to_string());
    let delimiter = format!("\r\n--{boundary}");
    let mut rest: &[u8] = &[b"\r\n", reply.body.as_slice()].concat();
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes()).expect("a delimiter");
        if rest == b"--\r\n" {
            return parts;
        }
        let end =
            rest.windows(delimiter.len()).position(|bytes| bytes == delimiter.as_bytes()).expect("an end");
        let part = Reply::read(&[b"HTTP/1.1 206 Part", &rest[..end]].concat());
        parts.push((part.head[17..].to_owned(), part.body));
        rest = &rest[end..];
    }
}

#[test]
fn several_ranges_are_a_multipart_body() {
    let (folder, _webs) = sites();
    let large: Vec<u8> = (0..300_000u32).map(|index| (index % 253) as u8).collect();
    folder.write("large.bin", &large);
    for web in folder.sites(|files| files) {
        let reply = web.get_with("/f.txt", "Range", "bytes=10-11, 0-0,-1");
        assert_eq!(reply.status, 206);
        let head = |range| {
            format!("\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/36\r\n\r\n")
        };
        let expected =
            [("10-11", "ab"), ("0-0", "0"), ("35-35", "z")].map(|(range, body)| (head(range), body.into()));
        assert_eq!(parts(&reply), expected);
        assert_eq!(
            reply.field("Content-Range"),
            None,
            "RFC 9110 14.6: MUST NOT stand beside a multipart body"
        );

        // More than is answered at once: the same as a stream.
        let reply = web.get_with("/large.bin", "Range", "bytes=250000-,0-199999");
        let bodies: Vec<Vec<u8>> = parts(&reply).into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [&large[250_000..], &large[..200_000]]);
    }
}

#[test]
fn a_long_range_is_streamed() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..500_000u32).map(|index| (index % 249) as u8).collect();
    folder.write("f", &bytes);
    for web in folder.sites(|files| files) {
        let reply = web.get_with("/f", "Range", "bytes=12345-400000");
        assert_eq!((reply.status, reply.body.as_slice()), (206, &bytes[12_345..=400_000]));
    }
}
