//! Who is told what was done: an `Observer` hears of finished transfers and answered commands. Two write logs: `Xferlog` and
//! `CommonLog`. Called on the loop: an observer hands its lines to something that does not wait.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use ropewalk_net::Address;
use ropewalk_wire::ftp::calendar;

use crate::path::FtpPath;
use crate::transfers::Direction;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Hears what a server has done.
pub trait Observer: 'static {
    /// A file went over a data connection, or a part of it.
    fn transferred(&self, transfer: &Transferred<'_>) {
        let _ = transfer;
    }

    /// A command was answered.
    fn answered(&self, answered: &Answered<'_>) {
        let _ = answered;
    }
}

/// A transfer that is over.
#[derive(Clone, Debug)]
pub struct Transferred<'a> {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// With whom.
    pub peer: &'a Address,
    /// For which user.
    pub user: &'a str,
    /// Whether anybody may be this user.
    pub anonymous: bool,
    /// Which file, from the user's root on.
    pub path: &'a FtpPath,
    /// Which way.
    pub direction: Direction,
    /// Whether as a text (type A).
    pub ascii: bool,
    /// Bytes that went over the data connection, without what TLS adds.
    pub bytes: u64,
    /// Whether it came to its end.
    pub complete: bool,
}

/// A command and its last reply.
#[derive(Clone, Debug)]
pub struct Answered<'a> {
    /// When it was answered.
    pub at: SystemTime,
    /// Who has given it.
    pub peer: &'a Address,
    /// As whom; `None` before the login.
    pub user: Option<&'a str>,
    /// The line; behind PASS and ACCT there are stars.
    pub line: &'a str,
    /// The reply's code.
    pub code: u16,
    /// What a transfer has moved.
    pub bytes: u64,
}

/// Transfers in the format of wu-ftpd's xferlog, which `man 5 xferlog` describes and log analysers read. Times are in UTC.
///
/// ```
/// use ropewalk_ftp::Xferlog;
/// let log = Xferlog::new(|line: &[u8]| print!("{}", String::from_utf8_lossy(line)));
/// # drop(log);
/// ```
pub struct Xferlog<F>(F);

impl<F: Fn(&[u8]) + 'static> Xferlog<F> {
    /// `write` gets a line at a time, its end included.
    pub fn new(write: F) -> Xferlog<F> {
        Xferlog(write)
    }
}

impl<F: Fn(&[u8]) + 'static> Observer for Xferlog<F> {
    fn transferred(&self, transfer: &Transferred<'_>) {
        let [year, month, day, hour, minute, second] = calendar(transfer.at);
        let direction = match transfer.direction {
            Direction::Download => 'o',
            Direction::Upload => 'i',
        };
        let line = format!(
            "{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year} {} {} {} {} {} _ {direction} {} {} ftp 0 * {}\n",
            weekday(transfer.at),
            month_name(month),
            // A transfer took a second at the least, for those who divide by it.
            transfer.took.as_secs().max(1),
            host(transfer.peer),
            transfer.bytes,
            // Fields are parted by spaces.
            one_word(transfer.path.as_bytes()),
            if transfer.ascii { 'a' } else { 'b' },
            if transfer.anonymous { 'a' } else { 'r' },
            one_word(transfer.user.as_bytes()),
            if transfer.complete { 'c' } else { 'i' },
        );
        (self.0)(line.as_bytes());
    }
}

/// Commands in the Common Log Format of web servers. Times are in UTC.
///
/// ```
/// use ropewalk_ftp::CommonLog;
/// let log = CommonLog::new(|line: &[u8]| print!("{}", String::from_utf8_lossy(line)));
/// # drop(log);
/// ```
pub struct CommonLog<F>(F);

impl<F: Fn(&[u8]) + 'static> CommonLog<F> {
    /// `write` gets a line at a time, its end included.
    pub fn new(write: F) -> CommonLog<F> {
        CommonLog(write)
    }
}

impl<F: Fn(&[u8]) + 'static> Observer for CommonLog<F> {
    fn answered(&self, answered: &Answered<'_>) {
        let [year, month, day, hour, minute, second] = calendar(answered.at);
        let user = answered.user.map_or_else(|| "-".to_owned(), |user| one_word(user.as_bytes()));
        let mut line = format!(
            "{} - {user} [{day:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \"",
            host(answered.peer),
            month_name(month),
        );
        for character in answered.line.chars() {
            match character {
                '"' | '\\' => line.extend(['\\', character]),
                // A line of the peer's is a line of the log.
                character if character.is_control() => line.push('?'),
                character => line.push(character),
            }
        }
        // Writing to a string does not fail.
        let _ = writeln!(line, "\" {} {}", answered.code, answered.bytes);
        (self.0)(line.as_bytes());
    }
}

fn month_name(month: i64) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan")
}

fn weekday(time: SystemTime) -> &'static str {
    let days = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    DAYS[usize::try_from(days % 7).unwrap_or(0)]
}

fn host(peer: &Address) -> String {
    peer.ip().map_or_else(|| one_word(peer.to_string().as_bytes()), |ip| ip.to_canonical().to_string())
}

fn one_word(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|character| if character.is_control() || character == ' ' { '_' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_line_each_as_analysers_want_it() {
        let lines: Rc<RefCell<Vec<u8>>> = Rc::default();
        let into = Rc::clone(&lines);
        let write = move |line: &[u8]| into.borrow_mut().extend_from_slice(line);
        let at = ropewalk_wire::ftp::parse_time(b"20260102030405").unwrap();
        let peer = Address::Inet("[::ffff:192.0.2.1]:1".parse().unwrap());
        let path = FtpPath::root().join(b"a b").unwrap();
        Xferlog::new(write.clone()).transferred(&Transferred {
            at,
            took: Duration::from_millis(10),
            peer: &peer,
            user: "ada",
            anonymous: false,
            path: &path,
            direction: Direction::Upload,
            ascii: false,
            bytes: 12,
            complete: false,
        });
        CommonLog::new(write).answered(&Answered {
            at,
            peer: &peer,
            user: Some("a da"),
            line: "RETR \"x\"\n",
            code: 226,
            bytes: 5,
        });
        assert_eq!(
            String::from_utf8(lines.take()).unwrap(),
            "Fri Jan  2 03:04:05 2026 1 192.0.2.1 12 /a_b b _ i r ada ftp 0 * i\n\
             192.0.2.1 - a_da [02/Jan/2026:03:04:05 +0000] \"RETR \\\"x\\\"?\" 226 5\n"
        );
    }
}
