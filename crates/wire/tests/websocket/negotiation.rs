//! The handshake's fields: what both sides make of requests, answers and extensions.

use ropewalk_wire::websocket::{
    Accepted, Asked, Deflate, DeflateOptions, Direction, Offered, Unfit, accept_deflate, accept_key, key,
    offer_deflate, parse_extensions,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a client makes of a server's answer to its offer.
pub(crate) fn at_client(wants: &DeflateOptions, answer: &str) -> Result<Option<Deflate>, &'static str> {
    let offered = Offered { key: KEY, subprotocols: &[], deflate: Some(wants) };
    let accepted = accept_key(KEY);
    let fields = [
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Accept", &accepted),
        ("Sec-WebSocket-Extensions", answer),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name, value.as_bytes()));
    offered.check(101, fields).map(|accepted| accepted.deflate)
}

fn ask<'a>(method: &str, upgrade: Option<&str>, fields: &[(&'a str, &'a str)]) -> Result<Asked<'a>, Unfit> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    Asked::read(method, upgrade, fields.into_iter())
}

#[test]
fn a_request_has_what_it_must_have() {
    let right = [
        ("Host", "example.org"),
        ("Sec-WebSocket-Key", KEY),
        ("sec-websocket-version", "13"),
        ("Sec-WebSocket-Protocol", "chat, superchat"),
        ("SEC-WEBSOCKET-PROTOCOL", "third"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ];
    let asked = ask("GET", Some("websocket"), &right).unwrap();
    assert_eq!((asked.key, asked.subprotocols.as_slice()), (KEY, ["chat", "superchat", "third"].as_slice()));
    assert_eq!(asked.choose(["x", "third", "chat"]), Some("third"));
    assert_eq!(asked.choose(["x"]), None);
    assert!(ask("GET", Some("h2c, WebSocket"), &right).is_ok());
    for (method, upgrade, status) in
        [("POST", Some("websocket"), 400), ("GET", None, 426), ("GET", Some("h2c"), 426)]
    {
        assert_eq!(ask(method, upgrade, &right).unwrap_err().status(), status);
    }
    for (at, name, value, status) in [
        (1, "Sec-WebSocket-Key", "", 400),
        (1, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ", 400),
        (1, "Sec-WebSocket-Key", "c2hvcnQ=", 400),
        (1, "x", "", 400),
        (2, "Sec-WebSocket-Version", "8", 426),
        (2, "x", "", 400),
        (2, "Sec-WebSocket-Key", KEY, 400),
        (3, "Sec-WebSocket-Protocol", "chat,,x", 400),
        (3, "Sec-WebSocket-Protocol", "a b", 400),
        (5, "Sec-WebSocket-Extensions", "a b", 400),
        (5, "Sec-WebSocket-Extensions", "a; b=\"", 400),
        (5, "Sec-WebSocket-Extensions", "a; b=\"x y\"", 400),
    ] {
        let mut fields = right;
        fields[at] = (name, value);
        assert_eq!(
            ask("GET", Some("websocket"), &fields).map_err(Unfit::status),
            Err(status),
            "{name}: {value}"
        );
    }
}

#[test]
fn an_answer_completes_what_was_asked() {
    let subprotocols = ["chat".to_owned()];
    let offered = Offered { key: KEY, subprotocols: &subprotocols, deflate: None };
    let accepted = accept_key(KEY);
    let right = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accepted.as_str()),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    let check = |status, fields: &[(&'static str, &str)]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        offered.check(status, fields.into_iter())
    };
    assert_eq!(check(101, &right), Ok(Accepted { subprotocol: Some("chat".to_owned()), deflate: None }));
    assert_eq!(check(101, &right[..3]), Ok(Accepted { subprotocol: None, deflate: None }));
    assert!(check(200, &right).is_err());
    for missing in 0..3 {
        let mut fields = right;
        fields[missing] = ("X", "x");
        assert!(check(101, &fields).is_err(), "without field {missing}");
    }
    let other = accept_key(&key([7; 16]));
    for (at, name, value) in [
        (0, "Upgrade", "h2c"),
        (1, "Connection", "close"),
        (2, "Sec-WebSocket-Accept", other.as_str()),
        (3, "Sec-WebSocket-Protocol", "other"),
        (3, "Sec-WebSocket-Extensions", "permessage-deflate"),
        (3, "Sec-WebSocket-Accept", accepted.as_str()),
    ] {
        let mut fields = right;
        fields[at] = (name, value);
        assert!(check(101, &fields).is_err(), "{name}: {value}");
    }
    assert!(check(101, &[right.as_slice(), &right[3..]].concat()).is_err(), "two subprotocols");
}

#[test]
fn a_server_takes_the_first_offer_that_it_can_honour() {
    let kept = DeflateOptions { own_takeover: true, peer_takeover: true, ..DeflateOptions::default() };
    let narrow = DeflateOptions { own_bits: 11, peer_bits: 12, ..kept };
    for (offer, wants, answer) in [
        ("permessage-deflate", kept, "permessage-deflate"),
        ("permessage-deflate", narrow, "permessage-deflate; server_max_window_bits=11"),
        (
            "permessage-deflate; client_max_window_bits",
            narrow,
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
            narrow,
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            kept,
            "permessage-deflate; server_max_window_bits=15",
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            kept,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            "x, permessage-deflate; wrong, permessage-deflate; client_max_window_bits=\"10\"",
            kept,
            "permessage-deflate; client_max_window_bits=10",
        ),
    ] {
        let (_, said) = accept_deflate(&parse_extensions(offer).unwrap(), &wants).unwrap();
        assert_eq!(said, answer, "{offer}");
    }
    for declined in [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; unknown",
    ] {
        assert_eq!(accept_deflate(&parse_extensions(declined).unwrap(), &kept), None, "{declined}");
    }
    // A window of 256 bytes is more than a compressor has, but no more than a message of 256 bytes needs.
    let (tiny, _) =
        accept_deflate(&parse_extensions("permessage-deflate; server_max_window_bits=8").unwrap(), &kept)
            .unwrap();
    assert_eq!(tiny.ours, Direction { takeover: false, bits: 8 });
}

#[test]
fn a_client_takes_only_what_it_has_offered() {
    let kept = DeflateOptions { own_takeover: true, peer_takeover: true, ..DeflateOptions::default() };
    let narrow = DeflateOptions { own_bits: 10, peer_bits: 11, ..DeflateOptions::default() };
    assert_eq!(offer_deflate(&kept), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        offer_deflate(&narrow),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; \
         client_max_window_bits=10"
    );
    let agreed = at_client(&kept, "permessage-deflate; client_max_window_bits=9; client_no_context_takeover")
        .unwrap()
        .unwrap();
    assert_eq!(agreed.ours, Direction { takeover: false, bits: 9 });
    assert_eq!(agreed.theirs, Direction { takeover: true, bits: 15 });
    for wrong in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "x",
    ] {
        assert!(at_client(&kept, wrong).is_err(), "{wrong}");
    }
    // What was asked of the server, it must say.
    for wrong in
        ["permessage-deflate", "permessage-deflate; server_no_context_takeover; server_max_window_bits=12"]
    {
        assert!(at_client(&narrow, wrong).is_err(), "{wrong}");
    }
}
