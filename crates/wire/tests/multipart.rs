//! Forms with files: what is read, what is refused, and that it makes no difference how the bytes are cut.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use proptest::prelude::*;
use ropewalk_wire::multipart::{Boundary, Decoder, Event, Limits, Malformed, PartHead};

type Parts = Vec<(PartHead, Vec<u8>)>;

fn decode<'a>(
    boundary: &Boundary,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Parts, Malformed> {
    let mut decoder = Decoder::new(boundary);
    let (mut parts, mut open): (Parts, bool) = (Vec::new(), false);
    for mut rest in pieces {
        loop {
            let (consumed, event) = match decoder.decode(rest, limits) {
                Ok(came) => came,
                Err(why) => {
                    assert_eq!(decoder.decode(b"--x", limits), Err(why), "a refusal is final");
                    assert_eq!(decoder.finish(), Err(why));
                    return Err(why);
                }
            };
            match event {
                Event::Part(head) => {
                    assert!(!std::mem::replace(&mut open, true), "one part at a time");
                    parts.push((head, Vec::new()));
                }
                Event::Data(data) => {
                    assert!(open && !data.is_empty());
                    parts.last_mut().unwrap().1.extend_from_slice(data);
                }
                Event::PartEnd => assert!(std::mem::replace(&mut open, false)),
                Event::NeedMore => {
                    assert_eq!(consumed, rest.len(), "all of the input is consumed");
                    break;
                }
                Event::End => {
                    assert!(!open);
                    break;
                }
            }
            rest = &rest[consumed..];
        }
    }
    decoder.finish().map(|()| parts)
}

/// Whole, split at every byte, byte by byte: the same.
fn everyhow(name: &str, body: &[u8], limits: &Limits) -> Result<Parts, Malformed> {
    let boundary = Boundary::new(name.as_bytes()).unwrap();
    let whole = decode(&boundary, [body], limits);
    for at in 0..=body.len() {
        let split = decode(&boundary, [&body[..at], &body[at..]], limits);
        assert_eq!(split, whole, "split at {at}: {}", body.escape_ascii());
    }
    assert_eq!(decode(&boundary, body.chunks(1), limits), whole, "byte by byte: {}", body.escape_ascii());
    whole
}

fn contents(body: &str) -> Result<Vec<String>, Malformed> {
    let parts = everyhow("AaB03x", body.as_bytes(), &Limits::default())?;
    Ok(parts.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect())
}

const HEAD: &str = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";

#[test]
fn a_form_as_browsers_send_it() {
    let body = "--AaB03x\r\nContent-Disposition: form-data; name=\"who\"\r\n\r\nAda\r\n\
                --AaB03x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"rope.txt\"\r\n\
                Content-Type: text/plain\r\n\r\none\r\ntwo\r\n\r\n--AaB03x--\r\n";
    let parts = everyhow("AaB03x", body.as_bytes(), &Limits::default()).unwrap();
    let [(first, ada), (second, file)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((first.disposition().unwrap().name.as_deref(), ada.as_slice()), (Some("who"), &b"Ada"[..]));
    assert_eq!(first.content_type(), None);
    let disposition = second.disposition().unwrap();
    assert_eq!(disposition.file_name.as_deref(), Some("rope.txt"));
    assert_eq!((second.content_type(), file.as_slice()), (Some("text/plain"), &b"one\r\ntwo\r\n"[..]));
}

#[test]
fn what_is_content_and_what_is_not() {
    let one = |content: &str| contents(&format!("--AaB03x\r\n{HEAD}{content}\r\n--AaB03x--"));
    for content in [
        "",
        "x",
        "\r\n",
        "\r",
        "\n",
        "\r\r\n",
        "\r\n--",
        "\r\n--AaB03",
        "\r\n--AaB03\r\n--AaB0",
        "\r\r\n--AaB03X",
        "--AaB03y",
        "-",
        "--AaB03",
        "\r\n-\r\n--\r",
        "AaB03x--AaB03x",
        "\n--AaB03x",
    ] {
        assert_eq!(one(content), Ok(vec![content.to_owned()]), "{content:?}");
    }
    // A preamble and an epilogue mean nothing, whatever stands in them.
    let framed = format!("hello\r\n--AaB0\r\n--AaB03x \t\r\n{HEAD}x\r\n--AaB03x--\r\n--AaB03x\r\nno head");
    assert_eq!(contents(&framed), Ok(vec!["x".to_owned()]));
    // A form without parts, and a part without content whose head's line end is the delimiter's.
    assert_eq!(contents("--AaB03x--"), Ok(vec![]));
    assert_eq!(contents(&format!("--AaB03x\r\n{HEAD}--AaB03x--")), Ok(vec![String::new()]));
    assert_eq!(contents("--AaB03x\r\n\r\nx\r\n--AaB03x--"), Ok(vec!["x".to_owned()]));
}

#[test]
fn what_is_no_form_is_refused() {
    for (body, why) in [
        (String::new(), Malformed::Truncated),
        ("hello".to_owned(), Malformed::Truncated),
        ("x--AaB03x--".to_owned(), Malformed::Truncated),
        (format!("--AaB03x\r\n{HEAD}"), Malformed::Truncated),
        (format!("--AaB03x\r\n{HEAD}x\r\n--AaB03x"), Malformed::Truncated),
        (format!("--AaB03x\r\n{HEAD}x\r\n--AaB03x-"), Malformed::Truncated),
        (format!("--AaB03x\r\n{HEAD}x\r\n--AaB03x\r\n"), Malformed::Truncated),
        (format!("--AaB03x\r\n{HEAD}x\r\n--AaB03xy\r\n"), Malformed::AfterBoundary),
        (format!("--AaB03x\n{HEAD}x\r\n--AaB03x--"), Malformed::AfterBoundary),
        (format!("--AaB03x\r\r\n{HEAD}x\r\n--AaB03x--"), Malformed::AfterBoundary),
        (format!("--AaB03x{}\r\n{HEAD}x\r\n--AaB03x--", " ".repeat(65)), Malformed::AfterBoundary),
        ("--AaB03x -- ".to_owned(), Malformed::AfterBoundary),
        ("--AaB03x\r\nno field\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
        ("--AaB03x\r\nA: b\n\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
        ("--AaB03x\r\nA: b\rC: d\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
        ("--AaB03x\r\nA: b\r\n C: d\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
        ("--AaB03x\r\nA : b\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
        ("--AaB03x\r\nA: \0\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
        ("--AaB03x\r\n: b\r\n\r\nx\r\n--AaB03x--".to_owned(), Malformed::Field),
    ] {
        assert_eq!(contents(&body), Err(why), "{body:?}");
    }
}

#[test]
fn a_part_that_two_readers_could_read_differently_has_no_disposition() {
    let of = |fields: &str| {
        let body = format!("--AaB03x\r\n{fields}\r\nx\r\n--AaB03x--");
        everyhow("AaB03x", body.as_bytes(), &Limits::default()).unwrap()[0]
            .0
            .disposition()
            .map(|read| read.name)
    };
    assert_eq!(of("Content-Disposition: form-data; name=a\r\n"), Ok(Some("a".to_owned())));
    for wrong in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Disposition: form-data\r\n",
        "Content-Disposition: attachment; name=a\r\n",
        "Content-Disposition: form-data; name=a; name=b\r\n",
        "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n",
        "Content-Disposition: form-data; name=\"a\r\n",
    ] {
        assert_eq!(of(wrong), Err(Malformed::Disposition), "{wrong}");
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits { parts_max: 2, head_bytes_max: HEAD.len() };
    let part = format!("--b\r\n{HEAD}x\r\n");
    let form = |count| part.repeat(count) + "--b--";
    assert_eq!(everyhow("b", form(2).as_bytes(), &limits).map(|parts| parts.len()), Ok(2));
    assert_eq!(everyhow("b", form(3).as_bytes(), &limits), Err(Malformed::TooManyParts));
    let tight = Limits { head_bytes_max: HEAD.len() - 1, ..limits };
    assert_eq!(everyhow("b", form(1).as_bytes(), &tight), Err(Malformed::HeadTooLarge));
    let endless = format!("--b\r\nA: {}", "x".repeat(200));
    assert_eq!(everyhow("b", endless.as_bytes(), &limits), Err(Malformed::HeadTooLarge));
}

#[test]
fn boundaries_of_content_types() {
    let of = |value: &str| {
        Boundary::of(value.as_bytes()).map(|it| String::from_utf8(it.as_bytes().to_vec()).unwrap())
    };
    assert_eq!(of("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
    assert_eq!(of("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b'c\"").as_deref(), Some("a b'c"));
    assert_eq!(of("multipart/form-data; boundary=*****").as_deref(), Some("*****"));
    for wrong in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/mixed; boundary=abc",
        "application/x-www-form-urlencoded; boundary=abc",
        "multipart/form-data; boundary=é",
    ] {
        assert_eq!(of(wrong), None, "{wrong}");
    }
    assert_eq!(of(&format!("multipart/form-data; boundary={}", "a".repeat(71))), None);
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out(
        contents in prop::collection::vec("[\\r\\nab-]{0,40}", 0..4),
        cuts in prop::collection::vec(1usize..30, 1..20),
    ) {
        // The boundary is one that cannot stand in them.
        let boundary = Boundary::new(b"ab-c").unwrap();
        let mut body = String::new();
        for content in &contents {
            body += &format!("--ab-c\r\n{HEAD}{content}\r\n");
        }
        body += "--ab-c--\r\n";
        let mut pieces = Vec::new();
        let mut rest = body.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let parts = decode(&boundary, pieces, &Limits::default()).unwrap();
        let got: Vec<String> = parts.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
        prop_assert_eq!(got, contents);
    }

    #[test]
    fn noise_makes_no_panic_and_no_difference(body in prop::collection::vec(prop::sample::select(b"\r\n-ab: ;=\"x".to_vec()), 0..120)) {
        let _ = everyhow("ab", &[b"--ab\r\n", body.as_slice()].concat(), &Limits { parts_max: 3, head_bytes_max: 40 });
    }
}
