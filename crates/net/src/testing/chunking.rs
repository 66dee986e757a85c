//! Cutting what a protocol is fed: the network may cut anywhere, and the outcome must be the same. Knows no transport, so that
//! codecs without I/O are tested by it as well.

use std::fmt::Debug;

use ropewalk_reactor::Random;

/// Random ways to cut that `split_everywhere` tries beyond the systematic ones.
const RANDOM_CUTS: u64 = 16;

/// How bytes are cut before they are fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunking<'a> {
    /// Not at all.
    Whole,
    /// Behind every byte.
    Bytes,
    /// At these places, in ascending order; those beyond the bytes are passed over.
    At(&'a [usize]),
    /// At places that this seed decides; the pieces are a few bytes long, or many.
    Random(u64),
}

impl Chunking<'_> {
    /// The pieces, none of them empty.
    ///
    /// ```
    /// use ropewalk_net::testing::Chunking;
    /// assert_eq!(Chunking::At(&[1, 3]).cut(b"hello"), [&b"h"[..], b"el", b"lo"]);
    /// assert_eq!(Chunking::Bytes.cut(b"abc").len(), 3);
    /// assert_eq!(Chunking::Random(7).cut(b"hello").concat(), b"hello");
    /// ```
    ///
    /// # Panics
    /// When the places of [`Chunking::At`] do not ascend.
    #[must_use]
    #[track_caller]
    pub fn cut<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        match self {
            Chunking::Whole => vec![bytes],
            Chunking::Bytes => bytes.chunks(1).collect(),
            Chunking::At(places) => cut_at(bytes, places),
            Chunking::Random(seed) => cut_randomly(bytes, *seed),
        }
        .into_iter()
        .filter(|piece| !piece.is_empty())
        .collect()
    }
}

#[track_caller]
fn cut_at<'b>(bytes: &'b [u8], places: &[usize]) -> Vec<&'b [u8]> {
    assert!(places.is_sorted(), "the places to cut at do not ascend: {places:?}");
    let (mut pieces, mut rest, mut cut) = (Vec::new(), bytes, 0);
    for place in places.iter().filter(|place| **place < bytes.len()) {
        let (piece, after) = rest.split_at(place - cut);
        pieces.push(piece);
        (rest, cut) = (after, *place);
    }
    pieces.push(rest);
    pieces
}

fn cut_randomly(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Random::new(seed);
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        // Short pieces find what goes wrong at borders, long ones what goes wrong when much comes at once.
        let longest = if random.below(2) == 0 { 4 } else { 64 };
        let length = 1 + usize::try_from(random.below(longest)).expect("it is below 64");
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Runs a script whole, split in two at every byte, one byte at a time, and cut in random ways, and asserts that the outcome
/// is always the same. Answers that outcome.
///
/// `run` gets the pieces, and begins anew each time.
///
/// ```
/// use ropewalk_net::testing::split_everywhere;
/// let numbers = split_everywhere(b"12,7,", |pieces| {
///     let (mut numbers, mut number) = (Vec::new(), 0);
///     for byte in pieces.iter().copied().flatten() {
///         match byte {
///             b',' => numbers.push(std::mem::take(&mut number)),
///             digit => number = number * 10 + u32::from(digit - b'0'),
///         }
///     }
///     numbers
/// });
/// assert_eq!(numbers, [12, 7]);
/// ```
///
/// # Panics
/// When an outcome differs from that of the whole script: it says how the script was cut, and both outcomes. When `run` panics,
/// standard error says how the script was cut.
#[track_caller]
pub fn split_everywhere<T: PartialEq + Debug>(bytes: &[u8], mut run: impl FnMut(&[&[u8]]) -> T) -> T {
    let mut run = |chunking: Chunking<'_>| {
        let telling = Telling(chunking);
        let outcome = run(&chunking.cut(bytes));
        std::mem::forget(telling);
        outcome
    };
    let whole = run(Chunking::Whole);
    let mut compare = |chunking: Chunking<'_>| {
        let outcome = run(chunking);
        assert!(
            outcome == whole,
            "the outcome depends on where the bytes are cut\n   cut: {}\n whole: {whole:?}\n  here: {outcome:?}",
            shown(chunking, bytes),
        );
    };
    for place in 1..bytes.len() {
        compare(Chunking::At(&[place]));
    }
    compare(Chunking::Bytes);
    for seed in 0..RANDOM_CUTS {
        compare(Chunking::Random(seed));
    }
    whole
}

/// How it was cut; where that was in one place, with the bytes around it.
fn shown(chunking: Chunking<'_>, bytes: &[u8]) -> String {
    let Chunking::At([place]) = chunking else { return format!("{chunking:?}") };
    let (before, after) = bytes.split_at(*place);
    let before = &before[before.len().saturating_sub(20)..];
    let after = &after[..after.len().min(20)];
    format!("{chunking:?}, \"{}\" | \"{}\"", before.escape_ascii(), after.escape_ascii())
}

/// Says how the script was cut when a panic goes by.
struct Telling<'a>(Chunking<'a>);

impl Drop for Telling<'_> {
    #[allow(clippy::print_stderr, reason = "beside the panic of the test, which nothing may be added to")]
    fn drop(&mut self) {
        eprintln!("it panicked with the script cut so: {:?}", self.0);
    }
}
