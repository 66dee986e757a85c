//! FTP's language under random input: nothing panics, cuts change nothing, and what is written is read back.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use ropewalk_wire::ftp::{
    AsciiDecoder, AsciiEncoder, Command, CommandDecoder, FactSet, Input, Reply, extended_passive,
    format_time, parse_eprt, parse_port, parse_time, passive, quote_path,
};

fn all(decoder: &mut CommandDecoder, mut bytes: &[u8], into: &mut Vec<Input>) {
    while !bytes.is_empty() {
        let (taken, input) = decoder.decode(bytes);
        assert!(taken > 0);
        bytes = &bytes[taken..];
        into.extend(input);
    }
}

/// Bytes among which those are frequent that mean something.
fn telnet() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(vec![255u8, 254, 253, 252, 251, 250, 244, 242, 240, b'\r', b'\n', 0]),
        2 => any::<u8>()
    ];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn lines_do_not_depend_on_cuts(bytes in telnet(), cuts in prop::collection::vec(1usize..20, 1..200)) {
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        all(&mut CommandDecoder::new(10), &bytes, &mut whole);
        let (mut decoder, mut rest) = (CommandDecoder::new(10), &bytes[..]);
        for length in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*length).min(rest.len()));
            all(&mut decoder, now, &mut cut);
            rest = later;
        }
        prop_assert_eq!(&whole, &cut);
        for input in &whole {
            if let Input::Line(line) = input {
                prop_assert!(line.len() <= 10 && !line.contains(&b'\n'));
                let _ = Command::parse(line);
            }
        }
    }

    #[test]
    fn no_argument_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (parse_port(&bytes), parse_eprt(&bytes), parse_time(&bytes), FactSet::parse(&bytes).advertise());
        // A path in quotation marks ends where it should.
        let quoted = quote_path(&bytes);
        let inner = quoted[1..quoted.len() - 1].iter().filter(|byte| **byte == b'"').count();
        prop_assert_eq!(inner % 2, 0);
        let mut out = Vec::new();
        Reply::with_lines(211, "begin", [bytes.clone(), bytes], "end").encode(&mut out);
        prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 4);
        let ends = out.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"211 ")).count();
        prop_assert_eq!(ends, 1);
    }

    #[test]
    fn addresses_and_times_are_read_back(a: [u8; 4], port: u16, seconds in 0u64..253_402_300_800) {
        let address = std::net::SocketAddrV4::new(a.into(), port);
        let text = passive(address);
        let numbers = text.split(['(', ')']).nth(1).unwrap();
        prop_assert_eq!(parse_port(numbers.as_bytes()), Ok(address));
        let ends = format!("(|||{port}|)");
        prop_assert!(extended_passive(port).ends_with(&ends));
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        prop_assert_eq!(parse_time(format_time(time).as_bytes()), Some(time));
    }

    #[test]
    fn texts_come_back(text in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..100), at in 0usize..100) {
        let (one, two) = text.split_at(at.min(text.len()));
        let mut encoder = AsciiEncoder::default();
        let wire = [encoder.encode(one), encoder.encode(two)].concat();
        let (one, two) = wire.split_at(at.min(wire.len()));
        let mut decoder = AsciiDecoder::default();
        let mut disk = [decoder.decode(one), decoder.decode(two)].concat();
        disk.extend(decoder.finish());
        prop_assert_eq!(disk, text);
    }
}
