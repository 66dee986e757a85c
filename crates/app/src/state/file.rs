//! The state file: one header line, then JSON. It is replaced in one step, so that whoever reads it finds the whole of the last one
//! whatever happened meanwhile; what is not whole, not ours or not understood is refused, and never written over.
//!
//! ```text
//! ROPEWALK-STATE 1 LENGTH CHECKSUM\n
//! {"program":"fibonacci","values":{"numbers":{"version":1,"value":["5","8"]}}}
//! ```
//!
//! The header has the magic word, the version of this form, the length of the JSON in bytes and its CRC-32 in hexadecimal.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

const MAGIC: &str = "ROPEWALK-STATE";
/// The version of the form that is written here. Older ones are read.
const VERSION: u32 = 1;

/// What a state file holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Contents {
    /// Whose state it is.
    pub(crate) program: String,
    /// The values by their names.
    pub(crate) values: BTreeMap<String, Saved>,
}

/// One value as it was saved.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Saved {
    /// The version of its type.
    pub(crate) version: u32,
    /// The value.
    pub(crate) value: Value,
}

/// The bytes of a state file.
pub(crate) fn encode(contents: &Contents) -> Vec<u8> {
    let body = serde_json::to_vec(contents).expect("names are strings, and values are JSON already");
    let mut bytes = format!("{MAGIC} {VERSION} {} {:08x}\n", body.len(), checksum(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// What is in it, or what is wrong with it.
pub(crate) fn decode(bytes: &[u8], program: &str) -> Result<Contents, String> {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let header = end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok()).unwrap_or_default();
    let body = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("it is no state file".to_owned());
    }
    let version: Option<u32> = words.next().and_then(|word| word.parse().ok());
    match version {
        Some(VERSION) => {}
        Some(version) if version > VERSION => {
            return Err(format!("a newer program has written it (form {version}; this one knows {VERSION})"));
        }
        _ => return Err("its header is damaged".to_owned()),
    }
    let length: Option<usize> = words.next().and_then(|word| word.parse().ok());
    let sum = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
    let (Some(length), Some(sum), None) = (length, sum, words.next()) else {
        return Err("its header is damaged".to_owned());
    };
    if body.len() != length {
        return Err(format!("it is torn: {} bytes of {length} are there", body.len()));
    }
    if checksum(body) != sum {
        return Err("it is damaged: its checksum does not fit".to_owned());
    }
    let contents: Contents =
        serde_json::from_slice(body).map_err(|error| format!("it is not understood: {error}"))?;
    if contents.program != program {
        return Err(format!("it is the state of {}, and this is {program}", contents.program));
    }
    Ok(contents)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Reads a state file; `None` if there is none.
pub(crate) fn read(path: &Path, program: &str) -> Result<Option<Contents>, String> {
    match std::fs::read(path) {
        Ok(bytes) => decode(&bytes, program).map(Some).map_err(|what| format!("{}: {what}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Replaces a file in one step: whoever looks finds the old bytes or the new ones, whole, also after the machine has lost its power.
///
/// # Errors
/// The system's, with the path.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let beside = beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(named)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(named)?;
    drop(file);
    std::fs::rename(&beside, path).map_err(named)?;
    // The name is in the folder, and is lost with it unless that is written, too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(named)
}

/// Where the next state is written, until it takes the place of the last one.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        let saved = Saved { version: 3, value: serde_json::json!({"a": [1, 2]}) };
        Contents { program: "abacus".to_owned(), values: [("beads".to_owned(), saved)].into() }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = encode(&contents());
        assert!(bytes.starts_with(b"ROPEWALK-STATE 1 "));
        assert_eq!(decode(&bytes, "abacus").unwrap(), contents());
    }

    #[test]
    fn whatever_is_missing_or_changed_is_noticed() {
        let bytes = encode(&contents());
        for length in 0..bytes.len() {
            decode(&bytes[..length], "abacus").expect_err("torn");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = decode(&changed, "abacus");
            assert!(read.is_err() || read == Ok(contents()), "byte {at}: {read:?}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(decode(&longer, "abacus").unwrap_err().contains("torn"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bytes = encode(&contents());
        let text = String::from_utf8(bytes.clone()).unwrap();
        for (bytes, said) in [
            (b"#!/bin/sh\n".to_vec(), "no state file"),
            (Vec::new(), "no state file"),
            (text.replacen(" 1 ", " 2 ", 1).into_bytes(), "newer program"),
            (text.replacen(" 1 ", " 0 ", 1).into_bytes(), "header is damaged"),
            (text.replacen("[1,2]", "[1,3]", 1).into_bytes(), "checksum"),
        ] {
            let error = decode(&bytes, "abacus").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(decode(&bytes, "zither").unwrap_err().contains("the state of abacus, and this is zither"));
    }
}
