//! The one answer that every server gives, ready-made for the bare loops.
//!
//! The bare loops share it, so that they differ in nothing but the loop. The frameworks write the same headers themselves.

use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memmem::Finder;

/// What everybody answers with.
pub(crate) const BODY: &str = "Hello, World!";

/// What everybody calls itself.
pub(crate) const SERVER: &str = "bench";

/// What ends the head of a request.
const END: &[u8; 4] = b"\r\n\r\n";

/// Head and body in one piece, with a Date that is at most a second old.
pub(crate) struct Answer {
    bytes: Vec<u8>,
    second: u64,
    finder: Finder<'static>,
}

impl Answer {
    pub(crate) fn new() -> Self {
        let mut answer = Answer { bytes: Vec::new(), second: 0, finder: Finder::new(END) };
        answer.refresh();
        answer
    }

    /// Looks at the clock; once a second it writes the answer anew.
    pub(crate) fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second == self.second {
            return;
        }
        self.second = second;
        let (date, length) = (httpdate::fmt_http_date(now), BODY.len());
        self.bytes = format!(
            "HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nDate: {date}\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{BODY}"
        )
        .into_bytes();
    }

    /// Appends one answer for every head that ends in `data`. `carry` is the part of an end that the last read stopped in.
    pub(crate) fn respond(&self, carry: &mut u8, data: &[u8], out: &mut Vec<u8>) {
        for _ in 0..self.heads(carry, data) {
            out.extend_from_slice(&self.bytes);
        }
    }

    fn heads(&self, carry: &mut u8, mut data: &[u8]) -> usize {
        let mut count = 0;
        if *carry > 0 {
            let missing = &END[usize::from(*carry)..];
            let length = missing.len().min(data.len());
            if data[..length] != missing[..length] {
                *carry = 0;
            } else if length < missing.len() {
                *carry += length as u8;
                return 0;
            } else {
                count = 1;
                data = &data[length..];
            }
        }
        let mut start = 0;
        for at in self.finder.find_iter(data) {
            count += 1;
            start = at + END.len();
        }
        *carry =
            (1..END.len()).rev().find(|length| data[start..].ends_with(&END[..*length])).unwrap_or(0) as u8;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_counted_however_they_are_cut() {
        let answer = Answer::new();
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n";
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut carry = 0;
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let count: usize = pieces.iter().map(|piece| answer.heads(&mut carry, piece)).sum();
                assert_eq!((count, carry), (2, 0), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn the_answer_is_an_answer() {
        let (answer, mut out) = (Answer::new(), Vec::new());
        answer.respond(&mut 0, b"GET / HTTP/1.1\r\n\r\n", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n")
                && text.ends_with("Content-Length: 13\r\n\r\nHello, World!")
        );
    }
}
