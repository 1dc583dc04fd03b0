//! List cursors: opaque to clients, a place in the order (instant, tenant, seq) to us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;

use crate::ports::Position;

/// A form that may change says which it is.
const VERSION: u8 = 1;
/// Version, instant, tenant and seq.
const BYTES: usize = 1 + 8 + 16 + 8;

/// A text that no list gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list; use `next_cursor` of an earlier answer as it is")]
pub struct CursorError;

/// The cursor of a place. It widens nothing: the reach of whoever presents it still bounds the list.
#[must_use]
pub fn cursor(place: &Position) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&place.at.0.to_be_bytes());
    bytes.extend_from_slice(place.nid.0.as_bytes());
    bytes.extend_from_slice(&place.seq.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place of a cursor.
///
/// # Errors
/// [`CursorError`] for anything that [`cursor`] did not make.
pub fn parse_cursor(text: &str) -> Result<Position, CursorError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
    let (version, rest) = bytes.split_first().ok_or(CursorError)?;
    let (at, rest) = rest.split_first_chunk::<8>().ok_or(CursorError)?;
    let (nid, rest) = rest.split_first_chunk::<16>().ok_or(CursorError)?;
    let seq: [u8; 8] = rest.try_into().map_err(|_| CursorError)?;
    let seq = u64::from_be_bytes(seq);
    // The store counts in signed integers.
    if *version != VERSION || i64::try_from(seq).is_err() {
        return Err(CursorError);
    }
    let nid = Nid(uuid::Uuid::from_bytes(*nid));
    Ok(Position { at: Timestamp(i64::from_be_bytes(*at)), nid, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_junk_is_refused() {
        let place =
            Position { at: Timestamp(1_795_253_400_125), nid: Nid(uuid::Uuid::from_u128(7)), seq: 42 };
        let text = cursor(&place);
        assert_eq!(parse_cursor(&text), Ok(place));
        let wrong_version = URL_SAFE_NO_PAD.encode([&[2][..], &[0; 32]].concat());
        let negative = URL_SAFE_NO_PAD.encode([&[1][..], &[0; 24], &[0xff; 8]].concat());
        for bad in ["", "x", &text[1..], &format!("{text}AA"), "ä", &wrong_version, &negative] {
            assert_eq!(parse_cursor(bad), Err(CursorError), "{bad:?}");
        }
    }
}
