//! Tokens: what they grant, by which field or cookie, when they end, and every way in which one is refused.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Signed, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use ropewalk_web::push::{Algorithm, KeyError, Tokens};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"a secret of thirty-two bytes here";
/// Made with `openssl genrsa 2048`; it signs in tests, and nowhere else.
const RSA: &str = include_str!("rsa.pem");
const RSA_PUBLIC: &str = include_str!("rsa.pub.pem");

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A token that ends in an hour, by a clock that stands at 1 000 000.
fn claims(more: &Value) -> Value {
    let mut claims = json!({ "exp": 1_003_600, "subscribe": ["a", "room:*"], "publish": ["a"] });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn hs256(claims: &Value) -> String {
    encode(&Header::new(Signed::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

#[test]
fn every_algorithm_signs_and_no_other_key_does() {
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let ec_key = EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap();
    let ed_key = EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap();
    let (ec_public, ed_public) = (ec.public_key_pem(), ed.public_key_pem());
    let all = [
        (Algorithm::Hs256, Signed::HS256, EncodingKey::from_secret(SECRET), SECRET),
        (Algorithm::Rs256, Signed::RS256, rsa, RSA_PUBLIC.as_bytes()),
        (Algorithm::Es256, Signed::ES256, ec_key, ec_public.as_bytes()),
        (Algorithm::EdDsa, Signed::EdDSA, ed_key, ed_public.as_bytes()),
    ];
    for (checked, _, _, public) in &all {
        for (algorithm, signed, key, _) in &all {
            let token = encode(&Header::new(*signed), &claims(&json!({})), key).unwrap();
            for tokens in [Tokens::new(public, Some(*checked)), Tokens::new(public, None)] {
                let granted = tokens.unwrap().grant(&token, now());
                assert_eq!(
                    granted.is_ok(),
                    checked == algorithm,
                    "{algorithm} before {checked}: {granted:?}"
                );
            }
        }
    }
    let others = [
        (Signed::HS256, EncodingKey::from_secret(b"another secret of thirty-two bytes"), SECRET),
        (
            Signed::EdDSA,
            EncodingKey::from_ed_pem(
                KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem().as_bytes(),
            )
            .unwrap(),
            ed_public.as_bytes(),
        ),
    ];
    for (signed, key, public) in others {
        let token = encode(&Header::new(signed), &claims(&json!({})), &key).unwrap();
        let refused = Tokens::new(public, None).unwrap().grant(&token, now());
        assert_eq!(refused, Err("its signature is not by the key"));
    }
}

/// Whoever knows the public key signs with it as if it were a secret.
#[test]
fn a_public_key_is_no_secret() {
    let tokens = Tokens::new(RSA_PUBLIC.as_bytes(), None).unwrap();
    let forged = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    let token = encode(&Header::new(Signed::HS256), &claims(&json!({})), &forged).unwrap();
    assert_eq!(tokens.grant(&token, now()), Err("it is signed in another way"));
    let refused = Tokens::new(RSA_PUBLIC.as_bytes(), Some(Algorithm::Hs256)).err().unwrap();
    assert!(refused.to_string().contains("no secret"), "{refused}");
}

#[test]
fn who_signs_nothing_or_changes_something_is_refused() {
    let tokens = Tokens::new(SECRET, None).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = part(&claims(&json!({})));
    let good = hs256(&claims(&json!({})));
    let signature = good.rsplit_once('.').unwrap().1;
    for name in ["none", "None", "NONE", "nOnE"] {
        let head = part(&json!({ "alg": name, "typ": "JWT" }));
        for token in
            [format!("{head}.{body}."), format!("{head}.{body}"), format!("{head}.{body}.{signature}")]
        {
            assert!(tokens.grant(&token, now()).is_err(), "{name}");
        }
    }
    let more = part(&claims(&json!({ "publish": ["**"] })));
    let head = good.split_once('.').unwrap().0;
    assert_eq!(
        tokens.grant(&format!("{head}.{more}.{signature}"), now()),
        Err("its signature is not by the key")
    );
    for token in
        ["", ".", "..", "x", "a.b.c", &good[..good.len() - 1], &format!("{good}x"), &format!("{good}.x")]
    {
        assert!(tokens.grant(token, now()).is_err(), "{token}");
    }
    let crit = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Signed::HS256) };
    let token = encode(&crit, &claims(&json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(tokens.grant(&token, now()), Err("it wants an extension that is not known here"));
}

#[test]
fn times_and_audiences_are_kept_to() {
    let tokens = Tokens::new(SECRET, None).unwrap();
    let said = |more: Value| tokens.grant(&hs256(&claims(&more)), now()).err().unwrap_or("granted");
    assert_eq!(said(json!({})), "granted");
    assert_eq!(said(json!({ "exp": 1_000_000 })), "it has expired");
    assert_eq!(said(json!({ "exp": 999_999.5 })), "it has expired");
    assert_eq!(said(json!({ "exp": 1_000_000.5 })), "granted");
    assert_eq!(said(json!({ "exp": 1e300 })), "its exp is no time");
    assert_eq!(said(json!({ "exp": -1 })), "its exp is no time");
    assert_eq!(said(json!({ "nbf": 1_000_005 })), "granted", "clocks differ a little");
    assert_eq!(said(json!({ "nbf": 1_000_011 })), "it is not valid yet");
    assert_eq!(said(json!({ "nbf": 1e300 })), "it is not valid yet");
    for wrong in [json!({ "exp": null }), json!({ "exp": "1003600" }), json!({ "publish": "a" })] {
        assert!(said(wrong.clone()).starts_with("its claims"), "{wrong}");
    }
    assert_eq!(said(json!({ "aud": "push" })), "it is for another audience");
    let ours = Tokens::new(SECRET, None).unwrap().audience("push");
    let said = |more: Value| ours.grant(&hs256(&claims(&more)), now()).err().unwrap_or("granted");
    assert_eq!(said(json!({ "aud": ["else", "push"] })), "granted");
    assert_eq!(said(json!({ "aud": "else" })), "it is for another audience");
    assert_eq!(said(json!({})), "it names no audience");
}

#[test]
fn keys_that_are_none() {
    let why =
        |key: &[u8], algorithm| Tokens::new(key, algorithm).err().map(|error: KeyError| error.to_string());
    assert!(why(b"short", None).unwrap().contains("32 bytes"));
    assert!(why(b"-----BEGIN NONSENSE-----", None).unwrap().contains("no public key"));
    assert!(why(RSA_PUBLIC.as_bytes(), Some(Algorithm::Es256)).is_some());
    assert!(why(SECRET, Some(Algorithm::Rs256)).is_some());
    assert!("none".parse::<Algorithm>().is_err() && "eddsa".parse() == Ok(Algorithm::EdDsa));
}

#[test]
fn a_token_comes_in_a_field_or_a_cookie_and_never_in_an_address() {
    let admit = Tokens::new(SECRET, None).unwrap().admit();
    let place = Place::calm(PushOptions { admit: Some(admit), remove: true, ..PushOptions::default() });
    let exp = seconds(place.simulation.reactor().wall_clock()) + 60;
    let token = hs256(&claims(&json!({ "exp": exp })));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let post = |name: &str, fields: &str| place.post(&format!("/channels/{name}"), fields, "x").0;
    assert_eq!(
        (post("a", ""), post("a", &bearer), post("b", &bearer), post("room:1", &bearer)),
        (401, 201, 403, 403)
    );
    assert_eq!(post("a", &format!("Cookie: x=y; ropewalk_token={token}\r\n")), 201);
    assert_eq!(post("a", &format!("Cookie: ropewalk_token={token}\r\nAuthorization: Basic eDp5\r\n")), 401);
    let read = |target: &str, fields: &str| parts(&place.get(target, fields)).0;
    assert_eq!(read("/channels/a?since=0", &bearer), 200);
    for query in ["token", "access_token", "authorization", "jwt"] {
        assert_eq!(read(&format!("/channels/a?since=0&{query}={token}"), ""), 401);
    }
    let unknown = place.get("/channels/a?since=0", "");
    assert!(unknown.contains("\r\nWWW-Authenticate: Bearer realm=\"channels\"\r\n"), "{unknown}");
    let wrong = place.get("/channels/a?since=0", "Authorization: Bearer x.y.z\r\n");
    assert!(wrong.contains("error=\"invalid_token\""), "{wrong}");
    assert_eq!(read("/channels/b/presence", &bearer), 403);
    assert_eq!(read("/channels/a", &format!("{}{bearer}", super::sockets::UPGRADE)), 101);
    assert_eq!(read("/channels", super::sockets::UPGRADE), 401);
    place.channels.channel_now("secret").unwrap().publish_now("x").unwrap();
    let list = parts(&place.get("/channels", &bearer)).1;
    assert!(list.contains("\"a\"") && !list.contains("secret"), "{list}");
}
