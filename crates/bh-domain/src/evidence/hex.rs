//! Lower-case hexadecimal, the text form of every hash and signature in a record.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::Error};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `bytes` as lower-case hexadecimal.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

/// The bytes of an even number of hexadecimal digits of either case; `None` for anything else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// The 32 bytes of exactly 64 hexadecimal digits.
#[must_use]
pub fn decode_hash(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A hash from 64 hexadecimal digits, for `#[serde(deserialize_with = "...")]`.
pub(super) fn deserialize_hash<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    decode_hash(&text).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_round_trip_and_junk_is_refused() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
        assert_eq!(decode("0aFF"), Some(vec![10, 255]));
        assert_eq!((decode("abc"), decode("zz"), decode("é")), (None, None, None));
        assert_eq!(decode_hash(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!((decode_hash(&"0f".repeat(31)), decode_hash(&"0g".repeat(32))), (None, None));
    }
}
