//! The PROXY protocol: the specification's vectors, every refusal by its shortest header, and the properties: cuts make no
//! difference, what is written is read back, and nothing beyond the header is taken.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use ropewalk_wire::proxy_protocol::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What came of bytes: the header and its length, nothing yet, or a refusal.
type Outcome = Result<Option<(usize, Header)>, Malformed>;

fn feed<'a>(versions: Versions, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::new(versions);
    let mut fed = 0;
    for piece in pieces {
        match decoder.feed(piece) {
            Ok(Fed::NeedMore) => fed += piece.len(),
            Ok(Fed::Header { consumed, header }) => {
                assert!(decoder.is_empty(), "it is new again");
                return Ok(Some((fed + consumed, header)));
            }
            Err(malformed) => {
                assert_eq!(decoder.feed(b"PROXY UNKNOWN\r\n"), Err(malformed), "a refusal is final");
                return Err(malformed);
            }
        }
    }
    Ok(None)
}

/// Whole, split at every byte, and byte by byte: the same.
fn read_as(versions: Versions, bytes: &[u8]) -> Outcome {
    let whole = feed(versions, [bytes]);
    for at in 0..=bytes.len() {
        let split = feed(versions, [&bytes[..at], &bytes[at..]]);
        assert_eq!(split, whole, "split at {at}: {}", bytes.escape_ascii());
    }
    assert_eq!(feed(versions, bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    whole
}

fn read(bytes: impl AsRef<[u8]>) -> Outcome {
    read_as(Versions::Any, bytes.as_ref())
}

fn header(bytes: impl AsRef<[u8]>) -> Header {
    let bytes = bytes.as_ref();
    match read(bytes) {
        Ok(Some((consumed, header))) if consumed == bytes.len() => header,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

/// Refused with this byte at the end, and not one byte before.
fn refused_at_its_end(bytes: impl AsRef<[u8]>) -> Malformed {
    let bytes = bytes.as_ref();
    assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None), "{}", bytes.escape_ascii());
    read(bytes).expect_err("it is refused")
}

/// A block of version 2 with a length that fits.
fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("tests are short");
    [SIGNATURE, &[command, family], &length.to_be_bytes(), rest].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x01, 0xBB];

fn inet(source: &str, destination: &str) -> Addresses {
    let address = |text: &str| text.parse().expect("an address");
    let (source, destination) = (address(source), address(destination));
    Addresses::Inet { kind: Kind::Stream, source, destination }
}

#[test]
fn the_lines_of_the_specification() {
    let example = header("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
    assert_eq!(example.version(), Version::V1);
    assert_eq!(*example.addresses(), inet("192.168.0.1:56324", "192.168.0.11:443"));
    assert_eq!(example.tlvs().count(), 0);
    // The longest of each family.
    let longest = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
    assert_eq!(longest.len(), 56);
    assert_eq!(*header(longest).addresses(), inet("255.255.255.255:65535", "255.255.255.255:65535"));
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), 104);
    let address = format!("[{full}]:65535");
    assert_eq!(*header(longest).addresses(), inet(&address, &address));
    assert_eq!(*header("PROXY UNKNOWN\r\n").addresses(), Addresses::Unknown);
    let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    assert_eq!(*header(longest).addresses(), Addresses::Unknown);
}

#[test]
fn lines_as_they_are_met() {
    assert_eq!(*header("PROXY TCP6 ::1 ::1 1 0\r\n").addresses(), inet("[::1]:1", "[::1]:0"));
    // System libraries print mapped addresses with dots.
    let mapped = header("PROXY TCP6 ::ffff:192.0.2.1 2001:DB8::2 1 2\r\n");
    assert_eq!(*mapped.addresses(), inet("[::ffff:192.0.2.1]:1", "[2001:db8::2]:2"));
    // Whatever stands there is ignored.
    assert_eq!(*header(b"PROXY UNKNOWN \xff\0 what? \t\r\n").addresses(), Addresses::Unknown);
}

#[test]
fn lines_are_refused_at_the_first_byte_that_fits_nothing() {
    use Malformed::*;
    for (line, malformed) in [
        ("G", Signature),
        ("PROXy", Signature),
        ("PROXY\t", Signature),
        ("PROXY  ", Family),
        ("PROXY TCP5", Family),
        ("PROXY TCP4\r", Family),
        ("PROXY UNKNOWNS", Family),
        ("PROXY UD", Family),
        ("PROXY TCP4  ", Address),
        ("PROXY TCP4 1.2.3 ", Address),
        ("PROXY TCP4 1.2.3.4.", Address),
        ("PROXY TCP4 256", Address),
        ("PROXY TCP4 01", Address),
        ("PROXY TCP4 :", Address),
        ("PROXY TCP4 1.2.3.4\r", Address),
        ("PROXY TCP6 1.", Address),
        ("PROXY TCP6 :::", Address),
        ("PROXY TCP6 ::1::", Address),
        ("PROXY TCP6 12345", Address),
        ("PROXY TCP6 : ", Address),
        ("PROXY TCP6 ::1 fe80::1%", Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4  ", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 00", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r", LineEnd),
        ("PROXY UNKNOWN\r ", LineEnd),
        ("PROXY UNKNOWN x\n", LineEnd),
        ("PROXY UNKNOWN x\rx", LineEnd),
    ] {
        assert_eq!(refused_at_its_end(line), malformed, "{line:?}");
    }
    // 105 bytes without an end: the 106th has to be the carriage return.
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(refused_at_its_end(&endless[..106]), TooLong);
    assert_eq!(read(&endless), Err(TooLong));
}

#[test]
fn blocks_of_every_family() {
    let seen = header(block(0x21, 0x11, V4));
    assert_eq!(
        (seen.version(), seen.addresses()),
        (Version::V2, &inet("192.0.2.1:56324", "198.51.100.2:443"))
    );
    assert_eq!(seen.source(), "192.0.2.1:56324".parse().ok());
    assert_eq!(seen.destination(), "198.51.100.2:443".parse().ok());
    let (source, destination) = (seen.source().unwrap(), seen.destination().unwrap());
    let datagrams = Addresses::Inet { kind: Kind::Datagram, source, destination };
    assert_eq!(*header(block(0x21, 0x12, V4)).addresses(), datagrams);
    let mut v6 = [0; 36];
    (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 80, 90);
    assert_eq!(*header(block(0x21, 0x21, &v6)).addresses(), inet("[::1]:80", "[::2]:90"));
    let mut names = [0; 216];
    names[..6].copy_from_slice(b"/run/a");
    // What stands behind the end of a path is not part of it, but an abstract name may hold NULs.
    names[7] = b'x';
    names[108..113].copy_from_slice(b"\0b\0c\0");
    let unix = header(block(0x21, 0x31, &names));
    let (source, destination) = (b"/run/a"[..].into(), b"\0b\0c"[..].into());
    assert_eq!(*unix.addresses(), Addresses::Unix { kind: Kind::Stream, source, destination });
    assert_eq!(unix.source(), None);
}

#[test]
fn what_is_local_or_unspecified_is_skipped_by_its_length() {
    assert_eq!(*header(block(0x20, 0x00, b"")).addresses(), Addresses::Local);
    // "Receivers MUST … not assume zero is presented for LOCAL connections", and the family is ignored.
    for family in [0x00, 0x11, 0x31, 0xFF] {
        let local = header(block(0x20, family, b"anything"));
        assert_eq!((local.addresses(), local.tlvs().count()), (&Addresses::Local, 0), "{family:x}");
    }
    for family in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30] {
        let unknown = header(block(0x21, family, &[0xFF; 300]));
        assert_eq!((unknown.addresses(), unknown.tlvs().count()), (&Addresses::Unknown, 0), "{family:x}");
    }
}

#[test]
fn blocks_are_refused_at_the_first_byte_that_fits_nothing() {
    use Malformed::*;
    let fixed = |rest: &[u8]| [SIGNATURE, rest].concat();
    let tlv =
        |length: u16, rest: &[u8]| [SIGNATURE, b"\x21\x11", &(12 + length).to_be_bytes(), V4, rest].concat();
    let long = u16::try_from(BLOCK_BYTES_MAX + 1).unwrap().to_be_bytes();
    for (bytes, malformed) in [
        (b"\n".to_vec(), Signature),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Signature),
        (fixed(b"\x11"), Version),
        (fixed(b"\x31"), Version),
        (fixed(b"\x22"), Command),
        (fixed(b"\x21\x41"), Family),
        (fixed(b"\x21\x13"), Family),
        (fixed(b"\x21\x11\xff"), TooLong),
        (fixed(&[0x20, 0, long[0], long[1]]), TooLong),
        (fixed(b"\x21\x11\x00\x0b"), TooShort),
        (fixed(b"\x21\x21\x00\x23"), TooShort),
        (fixed(b"\x21\x31\x00\xd7"), TooShort),
        // Less than a type and a length is left, which the last byte of what comes before tells.
        (tlv(2, b""), Tlv),
        (tlv(5, b"\x04\x00\x00"), Tlv),
        // A value that runs out of the block, told by either byte of its length.
        (tlv(8, b"\x04\x01"), Tlv),
        (tlv(8, b"\x04\x00\x06"), Tlv),
        // Lengths that contradict the type.
        (tlv(8, b"\x03\x00\x05"), Tlv),
        (tlv(200, b"\x05\x00\x81"), Tlv),
        (tlv(8, b"\x20\x00\x04"), Tlv),
        (tlv(11, b"\x20\x00\x08\x01\0\0\0\0\x21\0\x01"), Tlv),
        (tlv(9, b"\x20\x00\x06\x01\0\0\0\0\x21"), Tlv),
        (tlv(7, b"\x03\x00\x04\0\0\0\0"), Checksum),
    ] {
        assert_eq!(refused_at_its_end(&bytes), malformed, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_checksum_is_verified() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
    let mut out = Vec::new();
    let addresses = inet("192.0.2.1:1", "192.0.2.2:2");
    encode(&mut out, &addresses, &[Tlv::Alpn(b"h2")], true).unwrap();
    assert_eq!(header(&out).tlvs().collect::<Vec<_>>(), [Tlv::Alpn(b"h2")]);
    // Its own type is the one byte that nothing protects: with another one there is no checksum.
    let own_type = out.len() - 7;
    for at in (FIXED..out.len()).filter(|&at| at != own_type) {
        for bit in 0..8 {
            let mut changed = out.clone();
            changed[at] ^= 1 << bit;
            assert!(!matches!(read(&changed), Ok(Some(_))), "bit {bit} of byte {at} goes unnoticed");
        }
    }
    // Two checksums: nobody says which of them counts as zeroes.
    let twice = [V4, b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0"].concat();
    assert_eq!(read(block(0x21, 0x11, &twice)), Err(Malformed::Checksum));
}

const FIXED: usize = 16;

#[test]
fn what_a_proxy_says_beside_the_addresses() {
    let mut inner = Vec::new();
    for (kind, value) in [(0x21, "TLSv1.3"), (0x22, "example.com"), (0x23, "TLS_AES_128_GCM_SHA256")] {
        encode_tlv(&mut inner, kind, value.as_bytes()).unwrap();
    }
    for (kind, value) in [(0x24, "SHA256"), (0x25, "RSA2048"), (0x2F, "?")] {
        encode_tlv(&mut inner, kind, value.as_bytes()).unwrap();
    }
    let ssl = Ssl { client: 0x07, verify: 0, inner: &inner };
    let tlvs = [
        Tlv::Alpn(b"http/1.1"),
        Tlv::Authority("süd.example".as_bytes()),
        Tlv::Other(0x04, b"padding"),
        Tlv::UniqueId(&[7; 128]),
        Tlv::Ssl(ssl),
        Tlv::Netns(b"blue"),
        Tlv::Other(0xEA, b"\x01vpce-1"),
    ];
    let mut out = Vec::new();
    encode(&mut out, &inet("192.0.2.1:1", "192.0.2.2:2"), &tlvs, true).unwrap();
    let seen = header(&out);
    // Padding is nobody's, and the checksum has been looked at.
    let told: Vec<_> = tlvs.into_iter().filter(|tlv| !matches!(tlv, Tlv::Other(4, _))).collect();
    assert_eq!(seen.tlvs().collect::<Vec<_>>(), told);
    assert_eq!(seen.alpn(), Some(&b"http/1.1"[..]));
    assert_eq!(seen.authority(), Some("süd.example"));
    assert_eq!(seen.unique_id(), Some(&[7; 128][..]));
    let ssl = seen.ssl().unwrap();
    assert!(ssl.is_tls() && ssl.is_verified());
    let details: Vec<_> = ssl.tlvs().collect();
    assert_eq!(details[0], SslTlv::Version(b"TLSv1.3"));
    assert_eq!(details[1], SslTlv::CommonName(b"example.com"));
    assert_eq!(details[2], SslTlv::Cipher(b"TLS_AES_128_GCM_SHA256"));
    assert_eq!(details[3], SslTlv::SignatureAlgorithm(b"SHA256"));
    assert_eq!(details[4..], [SslTlv::KeyAlgorithm(b"RSA2048"), SslTlv::Other(0x2F, b"?")]);
    // A client without a certificate has verified nothing, whatever the number says.
    assert!(!Ssl { client: 0x01, verify: 0, inner: b"" }.is_verified());
    assert!(!Ssl { client: 0x03, verify: 19, inner: b"" }.is_verified());
}

#[test]
fn the_encoder_refuses_what_fits_into_no_header() {
    let addresses = inet("192.0.2.1:1", "192.0.2.2:2");
    let mut out = b"before".to_vec();
    for tlv in [
        Tlv::UniqueId(&[0; 129]),
        Tlv::Other(0xE0, &[0; BLOCK_BYTES_MAX]),
        Tlv::Other(0xE0, &[0; 70_000]),
        Tlv::Ssl(Ssl { client: 1, verify: 0, inner: b"\x21\x00" }),
    ] {
        assert_eq!(encode(&mut out, &addresses, &[tlv], true), Err(Unfit));
        assert_eq!(out, b"before");
    }
    let name: Box<[u8]> = vec![b'x'; 109].into();
    let unix = Addresses::Unix { kind: Kind::Stream, source: name.clone(), destination: name };
    assert_eq!(encode(&mut out, &unix, &[], false), Err(Unfit));
    assert_eq!(out, b"before");
}

#[test]
fn the_encoder_puts_two_families_into_one() {
    let mixed = inet("192.0.2.1:1", "[2001:db8::1]:2");
    let one = inet("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2");
    let mut line = Vec::new();
    encode_line(&mut line, &mixed);
    assert_eq!(*header(&line).addresses(), one);
    let mut bytes = Vec::new();
    encode(&mut bytes, &mixed, &[], false).unwrap();
    assert_eq!(*header(&bytes).addresses(), one);
}

#[test]
fn one_form_only_if_asked_for() {
    let line = b"PROXY UNKNOWN\r\n";
    let bytes = block(0x20, 0, b"");
    assert!(matches!(read_as(Versions::Only(Version::V1), line), Ok(Some(_))));
    assert!(matches!(read_as(Versions::Only(Version::V2), &bytes), Ok(Some(_))));
    assert_eq!(read_as(Versions::Only(Version::V2), line), Err(Malformed::Signature));
    assert_eq!(read_as(Versions::Only(Version::V1), &bytes), Err(Malformed::Signature));
}

fn any_addresses() -> impl Strategy<Value = Addresses> {
    let kind = select(&[Kind::Stream, Kind::Datagram][..]);
    let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
    let v6 = any::<([u8; 16], u16)>().prop_map(SocketAddr::from);
    let name = || "(\u{0}?[a-z/]{1,107})?".prop_map(|name| name.into_bytes().into_boxed_slice());
    prop_oneof![
        Just(Addresses::Local),
        Just(Addresses::Unknown),
        (kind.clone(), v4.clone(), v4).prop_map(|(kind, source, destination)| Addresses::Inet {
            kind,
            source,
            destination
        }),
        (kind.clone(), v6.clone(), v6).prop_map(|(kind, source, destination)| Addresses::Inet {
            kind,
            source,
            destination
        }),
        (kind, name(), name()).prop_map(|(kind, source, destination)| Addresses::Unix {
            kind,
            source,
            destination
        }),
    ]
}

/// Types that the encoder writes as they are given, and their values.
fn any_tlvs() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = select(&[0x01, 0x02, 0x05, 0x30, 0xE0, 0xFF][..]);
    prop::collection::vec((kind, prop::collection::vec(any::<u8>(), 0..40)), 0..6)
}

fn known((kind, value): &(u8, Vec<u8>)) -> Tlv<'_> {
    match kind {
        0x01 => Tlv::Alpn(value),
        0x02 => Tlv::Authority(value),
        0x05 => Tlv::UniqueId(value),
        0x30 => Tlv::Netns(value),
        other => Tlv::Other(*other, value),
    }
}

/// A good header, of either form.
fn good() -> impl Strategy<Value = Vec<u8>> {
    (any_addresses(), any_tlvs(), any::<bool>(), any::<bool>()).prop_map(|(addresses, tlvs, sum, line)| {
        let mut out = Vec::new();
        if line {
            encode_line(&mut out, &addresses);
        } else {
            let tlvs: Vec<_> = tlvs.iter().map(known).collect();
            encode(&mut out, &addresses, &tlvs, sum).expect("it fits");
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_roundtrip(addresses in any_addresses(), tlvs in any_tlvs(), sum in any::<bool>(), rest in any::<[u8; 3]>()) {
        let tlvs: Vec<_> = tlvs.iter().map(known).collect();
        let mut out = Vec::new();
        encode(&mut out, &addresses, &tlvs, sum).expect("it fits");
        let length = out.len();
        out.extend_from_slice(&rest);
        let (consumed, header) = read(&out).unwrap().unwrap();
        prop_assert_eq!(consumed, length, "not a byte beyond the header");
        prop_assert_eq!(header.addresses(), &addresses);
        let tlvs = if matches!(addresses, Addresses::Local | Addresses::Unknown) { Vec::new() } else { tlvs };
        prop_assert_eq!(header.tlvs().collect::<Vec<_>>(), tlvs);
    }

    #[test]
    fn lines_roundtrip(addresses in any_addresses(), rest in any::<[u8; 3]>()) {
        let mut out = Vec::new();
        encode_line(&mut out, &addresses);
        let length = out.len();
        prop_assert!(length <= LINE_BYTES_MAX);
        out.extend_from_slice(&rest);
        let (consumed, header) = read(&out).unwrap().unwrap();
        prop_assert_eq!(consumed, length);
        let sayable = matches!(addresses, Addresses::Inet { kind: Kind::Stream, .. });
        prop_assert_eq!(header.addresses(), if sayable { &addresses } else { &Addresses::Unknown });
    }

    #[test]
    fn cuts_make_no_difference(
        bytes in good(),
        change in any::<Option<(Index, u8, u8)>>(),
        rest in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = bytes;
        if let Some((at, byte, how)) = change {
            let at = at.index(bytes.len());
            match how % 3 {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.extend_from_slice(&rest);
        // It also says that nothing panics, and what is read can be walked.
        if let Ok(Some((consumed, header))) = read(&bytes) {
            prop_assert!(consumed <= bytes.len());
            header.tlvs().for_each(|tlv| if let Tlv::Ssl(ssl) = tlv { ssl.tlvs().for_each(drop) });
        }
    }

    #[test]
    fn tlvs_of_any_bytes_make_no_panic(block_bytes in prop::collection::vec(select(&[0u8, 1, 2, 3, 4, 5, 7, 0x20, 0x21, 0xFF][..]), 0..60)) {
        let bytes = [V4, &block_bytes].concat();
        if let Ok(Some((_, header))) = read(block(0x21, 0x11, &bytes)) {
            header.tlvs().for_each(|tlv| if let Tlv::Ssl(ssl) = tlv { ssl.tlvs().for_each(drop) });
        }
    }
}
