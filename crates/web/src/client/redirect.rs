//! Whether an answer leads elsewhere, and how the next request differs (RFC 9110 section 15.4). It sends nothing.

use ropewalk_wire::http1::ResponseHead;

use super::error::ClientError;
use super::options::Redirects;
use super::url::Url;

/// Fields that tell who asks. They are for one origin and for no other, wherever that sends us.
const CREDENTIALS: [&str; 4] = ["Authorization", "Cookie", "Proxy-Authorization", "Host"];
/// Fields that tell of a body.
const CONTENT: [&str; 5] =
    ["Content-Type", "Content-Encoding", "Content-Language", "Content-Location", "Digest"];

/// The next request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) url: Url,
    /// The body is left out, and the method is GET.
    pub(super) becomes_get: bool,
    /// It goes to another origin.
    pub(super) leaves: bool,
}

/// Where this answer leads; `None` where it is the answer.
pub(super) fn next(
    url: &Url,
    method: &str,
    head: &ResponseHead,
    redirects: Redirects,
) -> Result<Option<Step>, ClientError> {
    let status = head.status();
    if redirects.most == 0 || !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut locations = head.fields().filter(|(name, _)| name.eq_ignore_ascii_case("Location"));
    let Some((_, location)) = locations.next() else { return Ok(None) };
    if locations.next().is_some_and(|(_, other)| other != location) {
        return Err(ClientError::Redirect("there is more than one Location"));
    }
    // Bytes beyond ASCII are meant as UTF-8 by those who send them.
    let location = String::from_utf8_lossy(location);
    let next =
        url.join(&location).map_err(|_| ClientError::Redirect("its Location is no http or https URL"))?;
    if url.is_secure() && !next.is_secure() && !redirects.dangerous_downgrade {
        return Err(ClientError::Redirect("it leads from https to http"));
    }
    let becomes_get = match status {
        // RFC 9110 15.4.4: what is there is fetched.
        303 => !matches!(method, "GET" | "HEAD"),
        // RFC 9110 15.4.2 and 15.4.3: for historical reasons, and only for POST.
        301 | 302 => method == "POST",
        _ => false,
    };
    let leaves = url.origin() != next.origin();
    Ok(Some(Step { url: next, becomes_get, leaves }))
}

/// Takes out the fields that the next request must not have.
pub(super) fn strip<V>(fields: &mut Vec<(String, V)>, step: &Step) {
    let is_one_of = |name: &str, names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if step.leaves {
        fields.retain(|(name, _)| !is_one_of(name, &CREDENTIALS));
    }
    if step.becomes_get {
        fields.retain(|(name, _)| !is_one_of(name, &CONTENT));
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_wire::http1::HeadLimits;

    use super::*;

    fn lead(from: &str, method: &str, status: u16, fields: &str) -> Result<Option<Step>, ClientError> {
        let mut head = ResponseHead::new();
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        head.feed(text.as_bytes(), &HeadLimits::default()).unwrap();
        next(&from.parse().unwrap(), method, &head, Redirects::default())
    }

    #[test]
    fn the_method_follows_the_status() {
        for (status, method, becomes_get) in [
            (301, "POST", true),
            (302, "POST", true),
            (301, "PUT", false),
            (302, "DELETE", false),
            (301, "HEAD", false),
            (303, "POST", true),
            (303, "PUT", true),
            (303, "HEAD", false),
            (307, "POST", false),
            (308, "POST", false),
        ] {
            let step = lead("http://a/b", method, status, "Location: c\r\n").unwrap().unwrap();
            assert_eq!((step.becomes_get, step.leaves), (becomes_get, false), "{status} {method}");
            assert_eq!(step.url.to_string(), "http://a/c");
        }
        for status in [200, 300, 304, 305, 404] {
            assert_eq!(lead("http://a/", "GET", status, "Location: c\r\n").unwrap(), None, "{status}");
        }
        assert_eq!(lead("http://a/", "GET", 302, "").unwrap(), None);
    }

    #[test]
    fn origins_differ_in_scheme_host_and_port() {
        for (to, leaves) in [
            ("http://a/x", false),
            ("http://a:80/x", false),
            ("http://A/x", false),
            ("http://a:8080/", true),
            ("https://a/", true),
            ("http://b.a/", true),
            ("//b/", true),
        ] {
            let step = lead("http://a/", "GET", 302, &format!("Location: {to}\r\n")).unwrap().unwrap();
            assert_eq!(step.leaves, leaves, "{to}");
        }
    }

    #[test]
    fn some_are_not_followed() {
        for (from, fields) in [
            ("https://a/", "Location: http://a/\r\n"),
            ("https://a/", "Location: http://b/\r\n"),
            ("http://a/", "Location: file:///etc/passwd\r\n"),
            ("http://a/", "Location: javascript:alert(1)\r\n"),
            ("http://a/", "Location: http://b\\@c/\r\n"),
            ("http://a/", "Location: /x\r\nLocation: /y\r\n"),
        ] {
            let refused = lead(from, "GET", 302, fields);
            assert!(matches!(refused, Err(ClientError::Redirect(_))), "{fields}: {refused:?}");
        }
        assert!(lead("https://a/", "GET", 302, "Location: //b/\r\n").unwrap().is_some());
    }

    #[test]
    fn fields_are_left_behind() {
        let all = ["authorization", "Cookie", "Accept", "content-type", "X-Mine", "Host"];
        let kept = |leaves, becomes_get| {
            let mut fields: Vec<_> = all.iter().map(|name| (name.to_string(), ())).collect();
            strip(&mut fields, &Step { url: "http://a/".parse().unwrap(), becomes_get, leaves });
            fields.into_iter().map(|(name, ())| name).collect::<Vec<_>>()
        };
        assert_eq!(kept(false, false), all);
        assert_eq!(kept(true, false), ["Accept", "content-type", "X-Mine"]);
        assert_eq!(kept(false, true), ["authorization", "Cookie", "Accept", "X-Mine", "Host"]);
    }
}
