//! TYPE, MODE, STRU (RFC 959 4.1.2), REST (RFC 3659 5) and ALLO: how the next transfer goes.

use ropewalk_wire::ftp::Reply;

use super::{Answer, text};
use crate::session::{Core, Type};

pub(super) fn kind(core: &Core, argument: &[u8]) -> Answer {
    let argument = text(argument)?.to_ascii_uppercase();
    let parts: Vec<&str> = argument.split_whitespace().collect();
    let (kind, name) = match parts.as_slice() {
        // Non-print is what stands for every other form here.
        ["A"] | ["A", "N"] => (Type::Ascii, "A"),
        ["I"] | ["L", "8"] => (Type::Image, "I"),
        ["A", _] | ["E"] | ["E", _] | ["L", _] => {
            return Err(Reply::new(504, "Only the types A and I are served"));
        }
        _ => return Err(Reply::new(501, "TYPE A or TYPE I")),
    };
    core.state.borrow_mut().kind = kind;
    Ok(Reply::new(200, format!("Type is {name}")))
}

pub(super) fn mode(argument: &[u8]) -> Answer {
    match text(argument)?.to_ascii_uppercase().as_str() {
        "S" => Ok(Reply::new(200, "Mode is S")),
        "B" | "C" | "Z" => Err(Reply::new(504, "Only the mode S is served")),
        _ => Err(Reply::new(501, "MODE S")),
    }
}

pub(super) fn structure(argument: &[u8]) -> Answer {
    match text(argument)?.to_ascii_uppercase().as_str() {
        "F" => Ok(Reply::new(200, "Structure is F")),
        "R" | "P" => Err(Reply::new(504, "Only the structure F is served")),
        _ => Err(Reply::new(501, "STRU F")),
    }
}

pub(super) fn rest(core: &Core, argument: &[u8]) -> Answer {
    let argument = text(argument)?;
    let plain = !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_digit());
    let Some(offset) = argument.parse::<u64>().ok().filter(|offset| plain && i64::try_from(*offset).is_ok())
    else {
        return Err(Reply::new(501, "REST wants a number of bytes"));
    };
    core.state.borrow_mut().restart = offset;
    Ok(Reply::new(350, format!("The next transfer goes on at {offset}")))
}

pub(super) fn allo(argument: &[u8]) -> Answer {
    let argument = text(argument)?.to_ascii_uppercase();
    let parts: Vec<&str> = argument.split_whitespace().collect();
    let number = |text: &str| text.parse::<u64>().is_ok();
    match parts.as_slice() {
        [bytes] if number(bytes) => {}
        [bytes, "R", record] if number(bytes) && number(record) => {}
        _ => return Err(Reply::new(501, "ALLO wants a number of bytes")),
    }
    Ok(Reply::new(202, "No space has to be set aside"))
}
