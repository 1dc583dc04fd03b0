//! Where the next page of a list begins, as an opaque text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;

use crate::ports::OutboxPlace;

const SEPARATOR: char = '\n';

pub(super) fn write((at, id, endpoint): &OutboxPlace) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{SEPARATOR}{id}{SEPARATOR}{endpoint}", at.0))
}

/// The place that a cursor means; `None` for the first page.
pub(super) fn read(cursor: &str) -> Result<Option<OutboxPlace>, Refusal> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let place = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let mut parts = text.split(SEPARATOR);
        let (at, id, endpoint) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        // PostgreSQL takes no NUL in a parameter, and no id has one.
        (!text.contains('\0')).then(|| (Timestamp(at), id.to_owned(), endpoint.to_owned()))
    };
    place().map(Some).ok_or_else(|| {
        let message =
            "The query parameter `cursor` is not one that this list has given: leave it out to begin anew";
        Refusal::new(Code::InvalidRequest, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_anything_else_is_refused() {
        let place = (Timestamp(-7), "evt_1".to_owned(), "ops".to_owned());
        assert_eq!(read(&write(&place)).unwrap(), Some(place));
        assert_eq!(read("").unwrap(), None);
        for stranger in ["x", "bm90IGEgcGxhY2U", "?", "MQoAYQpi"] {
            assert_eq!(read(stranger).unwrap_err().code, Code::InvalidRequest, "{stranger}");
        }
    }
}
