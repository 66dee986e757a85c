//! The choice of a coding, and the codecs: what is packed comes out as it was, however it is cut, and what is not packed is said so.

use std::task::{Context, Poll, Waker};

use ropewalk_wire::http1::{Head, HeadLimits};

use super::pack::Packer;
use super::stream::{PIECE_BYTES, Packing};
use super::unpack::{Unpacked, Unpacker};
use super::*;

fn choose(codings: &[Coding], field: Option<&str>) -> Choice {
    let mut head = Head::new();
    let field = field.map(|field| format!("Accept-Encoding: {field}\r\n")).unwrap_or_default();
    let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{field}\r\n");
    head.feed(text.as_bytes(), &HeadLimits::default()).unwrap();
    let rules = Rules { bytes_min: 0, codings: codings.to_vec() };
    rules.choose(&Preference::of(&head, "Accept-Encoding"))
}

#[test]
fn a_client_gets_what_it_likes_best() {
    use Coding::{Brotli, Gzip, Zstd};
    let packed = |coding| Choice::Packed { coding, must: false };
    let must = |coding| Choice::Packed { coding, must: true };
    for (field, choice) in [
        (None, Choice::Plain),
        (Some(""), Choice::Plain),
        (Some("gzip, deflate, br, zstd"), packed(Zstd)),
        (Some("gzip, deflate, br"), packed(Brotli)),
        (Some("gzip"), packed(Gzip)),
        (Some("x-gzip"), packed(Gzip)),
        (Some("GZIP;Q=1.0, br;q=0.9"), packed(Gzip)),
        (Some("gzip;q=0.5, br;q=0.8, zstd;q=0"), packed(Brotli)),
        (Some("*"), packed(Zstd)),
        (Some("*;q=0.1, gzip"), packed(Gzip)),
        (Some("gzip;q=0"), Choice::Plain),
        (Some("deflate, compress"), Choice::Plain),
        (Some("identity, gzip;q=0.5"), Choice::Plain),
        (Some("identity;q=0.5, gzip;q=0.5"), packed(Gzip)),
        (Some("gzip, identity;q=0"), must(Gzip)),
        (Some("gzip, *;q=0"), must(Gzip)),
        (Some("identity;q=0"), Choice::Nothing),
        (Some("*;q=0"), Choice::Nothing),
        (Some("identity, *;q=0"), Choice::Plain),
        (Some("deflate, identity;q=0"), Choice::Nothing),
        (Some("gzip;q=nonsense"), Choice::Plain),
    ] {
        assert_eq!(choose(&Coding::ALL, field), choice, "{field:?}");
    }
    assert_eq!(choose(&[Gzip, Brotli], Some("zstd, br, gzip")), packed(Gzip));
    assert_eq!(choose(&[], Some("gzip")), Choice::Plain);
}

fn text() -> Vec<u8> {
    (0..20_000_u32).flat_map(|number| format!("line {} ", number * number % 977).into_bytes()).collect()
}

fn packed(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new(coding).unwrap();
    packer.write(bytes).unwrap();
    packer.finish().unwrap()
}

/// What it becomes when it comes in such pieces, and whether it was complete.
fn unpacked(coding: Coding, bytes: &[u8], piece: usize) -> (Vec<u8>, Unpacked) {
    let mut unpacker = Unpacker::new(coding).unwrap();
    let (mut pieces, mut all, mut out) = (bytes.chunks(piece), Vec::new(), [0; 1000]);
    let mut ended = false;
    loop {
        match unpacker.read(&mut out) {
            Unpacked::Bytes(count) => all.extend_from_slice(&out[..count]),
            Unpacked::Hungry if ended => return (all, Unpacked::Hungry),
            Unpacked::Hungry => match pieces.next() {
                Some(piece) => unpacker.give(piece.to_vec()),
                None => {
                    ended = true;
                    unpacker.end();
                }
            },
            end => return (all, end),
        }
    }
}

#[test]
fn what_is_packed_comes_out_as_it_was_however_it_is_cut() {
    let text = text();
    for coding in Coding::ALL {
        let packed = packed(coding, &text);
        assert!(packed.len() < text.len() / 2, "{coding:?}: {}", packed.len());
        for piece in [1, 7, 1000, usize::MAX] {
            assert!(
                unpacked(coding, &packed, piece) == (text.clone(), Unpacked::End),
                "{coding:?} by {piece}"
            );
        }
    }
}

#[test]
fn what_is_flushed_can_be_unpacked_at_once() {
    for coding in Coding::ALL {
        let mut packer = Packer::new(coding).unwrap();
        packer.write(b"one").unwrap();
        packer.flush().unwrap();
        let first = packer.take();
        let mut unpacker = Unpacker::new(coding).unwrap();
        let mut out = [0; 10];
        unpacker.give(first);
        let mut got = Vec::new();
        while let Unpacked::Bytes(count) = unpacker.read(&mut out) {
            got.extend_from_slice(&out[..count]);
        }
        assert_eq!(got, b"one", "{coding:?}");
        packer.write(b"two").unwrap();
        unpacker.give(packer.finish().unwrap());
        unpacker.end();
        assert_eq!(unpacker.read(&mut out), Unpacked::Bytes(3), "{coding:?}");
        assert_eq!(&out[..3], b"two", "{coding:?}");
        assert_eq!(unpacker.read(&mut out), Unpacked::End, "{coding:?}");
    }
}

#[test]
fn what_is_cut_changed_or_followed_by_more_is_broken() {
    let text = text();
    for coding in Coding::ALL {
        let packed = packed(coding, &text);
        for cut in [0, 1, 5, packed.len() / 2, packed.len() - 1] {
            assert_eq!(unpacked(coding, &packed[..cut], 1000).1, Unpacked::Broken, "{coding:?} cut at {cut}");
        }
        let mut more = packed.clone();
        more.extend_from_slice(b"and this");
        let (_, end) = unpacked(coding, &more, 1000);
        assert_eq!(end, Unpacked::Broken, "{coding:?}");
        assert_eq!(unpacked(coding, b"this is not packed at all", 3).1, Unpacked::Broken, "{coding:?}");
    }
    // gzip has a checksum of all.
    let mut changed = packed(Coding::Gzip, &text);
    let sum = changed.len() - 6;
    changed[sum] ^= 1;
    assert_eq!(unpacked(Coding::Gzip, &changed, 1000).1, Unpacked::Broken);
}

#[test]
fn no_byte_of_a_packed_body_can_bring_it_down() {
    let text = &text()[..2000];
    for coding in Coding::ALL {
        let packed = packed(coding, text);
        for at in 0..packed.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = packed.clone();
                changed[at] ^= change;
                let (bytes, end) = unpacked(coding, &changed, 100);
                assert!(bytes.len() < 1 << 26 && end != Unpacked::Hungry, "{coding:?} {at}");
            }
        }
    }
}

#[test]
fn frames_and_members_may_follow_each_other() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let both = [packed(coding, b"one "), packed(coding, b"two")].concat();
        for piece in [1, 100] {
            assert_eq!(unpacked(coding, &both, piece), (b"one two".to_vec(), Unpacked::End), "{coding:?}");
        }
    }
}

#[test]
fn types_that_become_smaller_are_known() {
    for media in ["text/html; charset=utf-8", "application/json", "Image/SVG+xml", "application/problem+json"]
    {
        assert!(is_compressible(media), "{media}");
    }
    for media in
        ["text/event-stream", "image/png", "video/mp4", "application/octet-stream", "application/zip", ""]
    {
        assert!(!is_compressible(media), "{media}");
    }
}

#[test]
fn a_large_body_is_packed_a_piece_per_turn() {
    let whole: Rc<[u8]> = text().repeat(5).into();
    let Ok(Body::Stream(mut stream, None)) =
        Packing::of(Body::Shared(Rc::clone(&whole)), Coding::Gzip, false)
    else {
        panic!("it is too large to be packed at once");
    };
    let (mut turns, mut got) = (0, Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match stream.as_mut().poll_piece(&mut context) {
            Poll::Pending => turns += 1,
            Poll::Ready(Some(piece)) => got.extend(piece.unwrap()),
            Poll::Ready(None) => break,
        }
    }
    assert_eq!(turns, whole.len().div_ceil(PIECE_BYTES));
    assert!(unpacked(Coding::Gzip, &got, 1000) == (whole.to_vec(), Unpacked::End));
}
