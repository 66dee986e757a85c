//! Type A: texts travel with CRLF at their line ends (RFC 959 3.1.1.1) and lie on the disk with LF. Both ways work on pieces, however
//! they are cut.

/// From the disk to the wire: LF becomes CRLF. One that stands behind a CR already is left alone, so that a text that was written
/// elsewhere is not given a second one.
///
/// ```
/// use ropewalk_wire::ftp::AsciiEncoder;
/// let mut encoder = AsciiEncoder::default();
/// let mut out = encoder.encode(b"one\ntwo\r");
/// out.extend(encoder.encode(b"\nthree"));
/// assert_eq!(out, b"one\r\ntwo\r\nthree");
/// ```
#[derive(Clone, Debug, Default)]
pub struct AsciiEncoder {
    after_cr: bool,
}

impl AsciiEncoder {
    /// The next piece.
    #[must_use]
    pub fn encode(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + piece.len() / 32 + 2);
        let mut begin = 0;
        for at in memchr::memchr_iter(b'\n', piece) {
            let after_cr = if at == 0 { self.after_cr } else { piece[at - 1] == b'\r' };
            if !after_cr {
                out.extend_from_slice(&piece[begin..at]);
                out.push(b'\r');
                begin = at;
            }
        }
        out.extend_from_slice(&piece[begin..]);
        if let Some(last) = piece.last() {
            self.after_cr = *last == b'\r';
        }
        out
    }
}

/// From the wire to the disk: CRLF becomes LF. A CR alone stays.
///
/// ```
/// use ropewalk_wire::ftp::AsciiDecoder;
/// let mut decoder = AsciiDecoder::default();
/// let mut out = decoder.decode(b"one\r\ntwo\r");
/// out.extend(decoder.decode(b"\nthree\r"));
/// out.extend(decoder.finish());
/// assert_eq!(out, b"one\ntwo\nthree\r");
/// ```
#[derive(Clone, Debug, Default)]
pub struct AsciiDecoder {
    /// A CR that is not written yet: an LF may follow.
    held: bool,
}

impl AsciiDecoder {
    /// The next piece.
    #[must_use]
    pub fn decode(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 1);
        let Some(first) = piece.first() else { return out };
        if std::mem::take(&mut self.held) && *first != b'\n' {
            out.push(b'\r');
        }
        let mut begin = 0;
        for at in memchr::memchr_iter(b'\r', piece) {
            match piece.get(at + 1) {
                Some(b'\n') => {
                    out.extend_from_slice(&piece[begin..at]);
                    begin = at + 1;
                }
                Some(_) => {}
                None => {
                    out.extend_from_slice(&piece[begin..at]);
                    begin = at + 1;
                    self.held = true;
                }
            }
        }
        out.extend_from_slice(&piece[begin..]);
        out
    }

    /// What was held back, at the end.
    #[must_use]
    pub fn finish(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_whole_split_at_every_byte_and_bytewise() {
        let wire: &[u8] = b"\r\na\r\r\nb\rc\n\r\n\r\n\nd\r";
        let disk: &[u8] = b"\na\r\nb\rc\n\n\n\nd\r";
        let decode = |pieces: &[&[u8]]| {
            let mut decoder = AsciiDecoder::default();
            let mut out: Vec<u8> = pieces.iter().flat_map(|piece| decoder.decode(piece)).collect();
            out.extend(decoder.finish());
            out
        };
        let text: &[u8] = b"\na\n\nb\r\nc\rd\r\r\n\n";
        let sent: &[u8] = b"\r\na\r\n\r\nb\r\nc\rd\r\r\n\r\n";
        let encode = |pieces: &[&[u8]]| {
            let mut encoder = AsciiEncoder::default();
            pieces.iter().flat_map(|piece| encoder.encode(piece)).collect::<Vec<u8>>()
        };
        assert_eq!(decode(&[wire]), disk);
        assert_eq!(encode(&[text]), sent);
        for cut in 0..=wire.len() {
            assert_eq!(decode(&[&wire[..cut], &wire[cut..]]), disk, "{cut}");
        }
        for cut in 0..=text.len() {
            assert_eq!(encode(&[&text[..cut], &text[cut..]]), sent, "{cut}");
        }
        assert_eq!(decode(&wire.chunks(1).collect::<Vec<_>>()), disk);
        assert_eq!(encode(&text.chunks(1).collect::<Vec<_>>()), sent);
    }
}
