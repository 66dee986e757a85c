//! From control bytes to lines: the part of Telnet that FTP has kept (RFC 959 3.3, RFC 1123 4.1.2.12), line ends, and the limit.
//! It does not know commands. The session feeds it whatever the network cut.

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const IP: u8 = 244;
const SE: u8 = 240;

/// What the decoder has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line that was longer than the limit; all of it was thrown away.
    TooLong,
    /// Telnet's Interrupt Process, which comes ahead of ABOR.
    Interrupt,
    /// The answer that a request for a Telnet option wants: always no.
    Refusal([u8; 3]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Data,
    /// Behind IAC.
    Command,
    /// Behind IAC and one of WILL, WONT, DO, DONT.
    Option(u8),
    /// Within a subnegotiation; true behind an IAC.
    Sub(bool),
}

/// Finds lines among control bytes, however they are cut, and keeps no more than one line up to the limit.
///
/// Lines end with CRLF or a bare LF. `IAC IAC` is the byte 255, `CR NUL` a carriage return; the Synch that urgent data brings (`IAC
/// DM`) and all other Telnet commands are passed over. A byte behind IAC that is no command of Telnet's is data, as
/// clients send it that do not double 255.
///
/// ```
/// use ropewalk_wire::ftp::{CommandDecoder, Input};
/// let mut decoder = CommandDecoder::new(100);
/// // As clients abort: Interrupt Process, Synch, and the line.
/// let (taken, input) = decoder.decode(b"\xff\xf4\xff\xf2ABOR\r\n");
/// assert_eq!((taken, input), (2, Some(Input::Interrupt)));
/// let (_, input) = decoder.decode(b"\xff\xf2ABOR\r\n");
/// assert_eq!(input, Some(Input::Line(b"ABOR".to_vec())));
/// ```
#[derive(Clone, Debug)]
pub struct CommandDecoder {
    line: Vec<u8>,
    line_bytes_max: usize,
    telnet: Telnet,
    too_long: bool,
    /// The last byte was a CR, which a NUL may follow.
    after_cr: bool,
}

impl CommandDecoder {
    /// A decoder that takes lines of up to `line_bytes_max` bytes, their end not counted.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> CommandDecoder {
        CommandDecoder {
            line: Vec::new(),
            line_bytes_max,
            telnet: Telnet::Data,
            too_long: false,
            after_cr: false,
        }
    }

    /// Takes bytes up to the end of the first thing in them; answers how many those were, and what it was, or `None` if all were
    /// taken and there is nothing yet.
    pub fn decode(&mut self, bytes: &[u8]) -> (usize, Option<Input>) {
        for (index, byte) in bytes.iter().enumerate() {
            if let Some(input) = self.take(*byte) {
                return (index + 1, Some(input));
            }
        }
        (bytes.len(), None)
    }

    /// Whether a line has begun and has not ended.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.line.is_empty() || self.too_long || self.telnet != Telnet::Data
    }

    fn take(&mut self, byte: u8) -> Option<Input> {
        match self.telnet {
            Telnet::Data if byte == IAC => self.telnet = Telnet::Command,
            Telnet::Data => return self.data(byte),
            Telnet::Command => {
                self.telnet = Telnet::Data;
                return self.command(byte);
            }
            Telnet::Option(verb) => {
                self.telnet = Telnet::Data;
                return match verb {
                    WILL => Some(Input::Refusal([IAC, DONT, byte])),
                    DO => Some(Input::Refusal([IAC, WONT, byte])),
                    // They are refusals themselves.
                    _ => None,
                };
            }
            Telnet::Sub(true) if byte == SE => self.telnet = Telnet::Data,
            Telnet::Sub(behind) => self.telnet = Telnet::Sub(!behind && byte == IAC),
        }
        None
    }

    fn command(&mut self, byte: u8) -> Option<Input> {
        match byte {
            IAC => return self.data(IAC),
            WILL | WONT | DO | DONT => self.telnet = Telnet::Option(byte),
            SB => self.telnet = Telnet::Sub(false),
            IP => return Some(Input::Interrupt),
            // Data Mark, No Operation, Go Ahead and the like.
            SE..=SB => {}
            _ => {
                self.push(IAC);
                return self.data(byte);
            }
        }
        None
    }

    fn data(&mut self, byte: u8) -> Option<Input> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' => return Some(self.end(after_cr)),
            0 if after_cr => {}
            _ => self.push(byte),
        }
        None
    }

    fn push(&mut self, byte: u8) {
        // One more for the CR of the line's end.
        if self.line.len() > self.line_bytes_max {
            self.too_long = true;
            self.line = Vec::new();
        } else if !self.too_long {
            self.line.push(byte);
        }
    }

    fn end(&mut self, after_cr: bool) -> Input {
        let mut line = std::mem::take(&mut self.line);
        if after_cr {
            line.pop();
        }
        if std::mem::take(&mut self.too_long) || line.len() > self.line_bytes_max {
            return Input::TooLong;
        }
        Input::Line(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut CommandDecoder, mut bytes: &[u8]) -> Vec<Input> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (taken, input) = decoder.decode(bytes);
            bytes = &bytes[taken..];
            found.extend(input);
        }
        found
    }

    fn line(text: &[u8]) -> Input {
        Input::Line(text.to_vec())
    }

    #[test]
    fn the_same_whole_and_split_at_every_byte() {
        let input =
            b"USER ada\r\nNOOP\n\r\n\xff\xf4\xff\xf2ABOR\r\nCWD a\xff\xffb\xff\xfe\x01c\r\nCWD x\r\0y\r\n\
            \xff\xfd\x18\xff\xfb\x1fSTAT\r\n\xff\xfa\x18abc\xff\xff\xff\xf0PWD\r\n\
            0123456789012345678901234567890\r\nQUIT\r\n";
        let expected = vec![
            line(b"USER ada"),
            line(b"NOOP"),
            line(b""),
            Input::Interrupt,
            line(b"ABOR"),
            line(b"CWD a\xffbc"),
            line(b"CWD x\ry"),
            Input::Refusal([255, 252, 0x18]),
            Input::Refusal([255, 254, 0x1f]),
            line(b"STAT"),
            line(b"PWD"),
            Input::TooLong,
            line(b"QUIT"),
        ];
        assert_eq!(all(&mut CommandDecoder::new(20), input), expected);
        for cut in 0..=input.len() {
            let mut decoder = CommandDecoder::new(20);
            let mut found = all(&mut decoder, &input[..cut]);
            found.extend(all(&mut decoder, &input[cut..]));
            assert_eq!(found, expected, "cut at {cut}");
            assert!(!decoder.is_within());
        }
        let mut decoder = CommandDecoder::new(20);
        let bytewise: Vec<Input> = input.iter().flat_map(|byte| all(&mut decoder, &[*byte])).collect();
        assert_eq!(bytewise, expected);
    }

    #[test]
    fn the_limit_is_exact_and_memory_is_bounded() {
        let mut decoder = CommandDecoder::new(4);
        assert_eq!(
            all(&mut decoder, b"1234\r\n12345\r\n1234\n12345\n"),
            [line(b"1234"), Input::TooLong, line(b"1234"), Input::TooLong]
        );
        assert_eq!(all(&mut decoder, &vec![b'x'; 1_000_000]), []);
        assert!(decoder.line.capacity() < 64);
        assert_eq!(all(&mut decoder, b"\nNOOP\n"), [Input::TooLong, line(b"NOOP")]);
    }
}
