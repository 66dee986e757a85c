//! Bytes that a protocol has handed back: they come again before anything from the socket. It knows no connection; `receive`
//! lends them out, and `asked` takes them in.
//!
//! A protocol that pauses after every message hands back the tail of what it was just given, again and again. That tail is
//! recognised by its address and stays where it is: copying it each time would be quadratic.

/// Bytes that come again.
#[derive(Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    /// Where in `bytes` they begin.
    from: usize,
    /// While a loan is with the protocol: the address behind its last byte.
    lent_end: usize,
    /// How much of the end of the loan was handed back.
    returned: usize,
}

/// What is with the protocol for one call.
pub(super) struct Loan {
    bytes: Vec<u8>,
    from: usize,
}

impl Loan {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.from && self.returned == 0
    }

    /// Whether there is nothing to remember: nothing here, and nothing lent.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && self.lent_end == 0
    }

    /// Takes bytes back, in front of what was handed back before.
    pub(super) fn put(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let is_tail_of_loan = self.lent_end == data.as_ptr_range().end.addr();
        if is_tail_of_loan && self.is_empty() {
            self.returned = data.len();
        } else if let Some(from) = self.from.checked_sub(data.len()) {
            self.bytes[from..self.from].copy_from_slice(data);
            self.from = from;
        } else {
            self.bytes.splice(..self.from, data.iter().copied());
            self.from = 0;
        }
    }

    /// Gives everything out for one call; `None` if there is nothing.
    pub(super) fn lend(&mut self) -> Option<Loan> {
        if self.is_empty() {
            return None;
        }
        let loan = Loan { bytes: std::mem::take(&mut self.bytes), from: std::mem::take(&mut self.from) };
        self.lent_end = loan.bytes.as_ptr_range().end.addr();
        Some(loan)
    }

    /// The call is over: what of the loan was handed back is kept.
    pub(super) fn settle(&mut self, loan: Loan) {
        self.lent_end = 0;
        let returned = std::mem::take(&mut self.returned);
        if returned == 0 {
            return;
        }
        let from = loan.bytes.len() - returned;
        if self.is_empty() {
            *self = Unread { bytes: loan.bytes, from, ..Unread::default() };
        } else {
            self.bytes.extend_from_slice(&loan.bytes[from..]);
        }
    }

    /// Takes what is here, and says whether more is with the call that runs and will be here when it is over.
    pub(super) fn reclaim(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.from));
        (bytes, self.returned > 0)
    }

    /// A copy of what is here.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        self.bytes[self.from..].to_vec()
    }

    /// Moves as much as fits.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.bytes[self.from..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.from += count;
        if self.from == self.bytes.len() {
            (self.bytes, self.from) = (Vec::new(), 0);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(unread: &mut Unread) -> Vec<u8> {
        let mut into = [0; 100];
        let count = unread.take(&mut into);
        assert!(unread.is_empty() && unread.bytes.capacity() == 0, "nothing is kept for nothing");
        into[..count].to_vec()
    }

    #[test]
    fn a_tail_stays_where_it_is() {
        let mut unread = Unread::default();
        unread.put(b"abcdef");
        let at = unread.bytes.as_ptr();
        for left in [5, 3, 1] {
            let loan = unread.lend().expect("there is something");
            let bytes = loan.bytes();
            unread.put(&bytes[bytes.len() - left..]);
            assert!(!unread.is_empty());
            unread.settle(loan);
            assert_eq!((unread.bytes.as_ptr(), unread.bytes.len() - unread.from), (at, left));
        }
        assert_eq!(all(&mut unread), b"f");
    }

    #[test]
    fn what_is_handed_back_last_comes_first() {
        let mut unread = Unread::default();
        unread.put(b"def");
        unread.put(b"abc");
        let loan = unread.lend().expect("there is something");
        assert!(unread.is_empty() && unread.lend().is_none());
        unread.put(&loan.bytes()[4..]);
        unread.put(b"xy");
        unread.put(b"w");
        unread.settle(loan);
        let mut into = [0; 2];
        assert_eq!(unread.take(&mut into), 2);
        assert_eq!(&into, b"wx");
        unread.put(b"v");
        unread.put(b"tuu");
        assert_eq!(all(&mut unread), b"tuuvyef");
    }

    #[test]
    fn bytes_that_are_no_tail_are_copied_and_what_is_not_handed_back_is_gone() {
        let mut unread = Unread::default();
        unread.put(b"abcdef");
        let loan = unread.lend().expect("there is something");
        unread.put(&loan.bytes()[1..3]);
        unread.settle(loan);
        assert_eq!(all(&mut unread), b"bc");
        unread.put(b"abc");
        let loan = unread.lend().expect("there is something");
        unread.settle(loan);
        assert!(unread.is_empty());
    }
}
