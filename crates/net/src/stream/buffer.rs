//! The bytes that a stream has received and not yet given out. Holds no memory while it is empty. Only `Stream` uses it.

/// Bytes before this much are worth moving the rest to the front.
const SLACK_BYTES: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// What was given out already.
    start: usize,
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn append(&mut self, data: &[u8]) {
        // Each byte that is moved here was paid for by one that was given out.
        if self.start >= SLACK_BYTES && self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// Puts bytes back in front.
    pub(super) fn put_back(&mut self, data: &[u8]) {
        self.bytes.splice(..self.start, data.iter().copied());
        self.start = 0;
    }

    /// Gives out the first `count` bytes; all of them cost no copy.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.start == 0 && count == self.bytes.len() {
            return std::mem::take(&mut self.bytes);
        }
        let taken = self.bytes()[..count].to_vec();
        self.consume(count);
        taken
    }

    /// Copies out as much as there is and fits.
    pub(super) fn copy_to(&mut self, into: &mut [u8]) -> usize {
        let count = self.len().min(into.len());
        if count == 0 {
            return 0;
        }
        into[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            *self = Buffer::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_in_order_and_holds_nothing_when_empty() {
        let mut buffer = Buffer::default();
        let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let mut out = Vec::new();
        for (index, chunk) in all.chunks(977).enumerate() {
            buffer.append(chunk);
            let count = (index * 613) % (buffer.len() + 1);
            let mut taken = buffer.take(count);
            if index % 5 == 0 {
                let back = taken.split_off(taken.len() / 2);
                buffer.put_back(&back);
            }
            out.extend_from_slice(&taken);
            assert!(
                buffer.bytes.len() <= buffer.len() * 2 + 2 * SLACK_BYTES + 977,
                "the given out part is bounded"
            );
        }
        let mut rest = vec![0; buffer.len()];
        assert_eq!(buffer.copy_to(&mut rest), rest.len());
        out.extend_from_slice(&rest);
        assert_eq!(out, all);
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
