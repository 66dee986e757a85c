//! A session that the browser keeps: its record in a signed cookie. Called by `live` and `commit`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Core;
use super::store::{Record, millis, moment};
use crate::cookies::Cookie;
use crate::signed::{Keys, SignError};

/// The record in a cookie, if this site has written it, and it is not over.
pub(super) fn read(core: &Core, keys: &Keys, text: &str, now: SystemTime) -> Option<Record> {
    // The record says itself when it is over.
    let bytes = keys.verify(&core.name, text, Duration::MAX, now)?;
    let mut value: Value = serde_json::from_slice(&bytes).ok()?;
    let (created_at, expires_at) = (moment(value.get("c")?.as_i64()?), moment(value.get("e")?.as_i64()?));
    let Value::Object(data) = value.get_mut("d")?.take() else { return None };
    (now < expires_at && now < created_at + core.absolute).then_some(Record { data, created_at, expires_at })
}

/// The cookie of a record.
pub(super) fn write(
    core: &Core,
    keys: &Keys,
    record: &Record,
    now: SystemTime,
    secure: bool,
) -> Result<Cookie, SignError> {
    let value = json!({ "c": millis(record.created_at), "e": millis(record.expires_at), "d": record.data });
    let cookie = core.cookie(keys.sign(&core.name, value.to_string().as_bytes(), now), secure);
    crate::signed::fits(cookie)
}
