//! Masking (RFC 6455 section 5.3): what a client sends is combined with a key of four bytes. Not a secret: it keeps a script from
//! choosing the bytes on the wire. The decoder and the encoder call it.

/// Combines `data` with `key`, from the byte of the key on that `offset` says. Doing it twice undoes it.
///
/// Eight bytes at a time, in a loop that compilers turn into vector instructions.
///
/// ```
/// use ropewalk_wire::websocket::apply_mask;
/// let mut data = *b"Hello";
/// apply_mask(&mut data, [0x37, 0xfa, 0x21, 0x3d], 0);
/// assert_eq!(data, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
/// ```
pub fn apply_mask(data: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset & 3);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (index, byte) in rest.iter_mut().enumerate() {
        *byte ^= key[index & 3];
    }
}

/// Appends `data` to `out`, combined with the key.
pub(super) fn append(out: &mut Vec<u8>, data: &[u8], key: Option<[u8; 4]>, offset: usize) {
    let before = out.len();
    out.extend_from_slice(data);
    if let Some(key) = key {
        apply_mask(&mut out[before..], key, offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_agree_with_single_bytes_from_every_offset() {
        let key = [0x12, 0xfe, 0x80, 0x7f];
        for length in 0..40 {
            for offset in 0..9 {
                let data: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(7)).collect();
                let slow = data.iter().enumerate().map(|(at, byte)| byte ^ key[(at + offset) % 4]);
                let slow: Vec<u8> = slow.collect();
                let mut fast = vec![1];
                append(&mut fast, &data, Some(key), offset);
                assert_eq!(fast[1..], slow, "{length} from {offset}");
            }
        }
    }
}
