//! Webhooks: what is told, to whom, how it is signed and when it is tried again (seed 001, Billing Integration;
//! Standard Webhooks).

mod kind;
mod month;
mod retry;
mod sign;

pub use kind::{EventKind, EventPattern};
pub use month::Month;
pub use retry::{Backoff, retry_after};
pub use sign::{SecretError, SigningSecret, signature_header};

use crate::evidence::hex;
use crate::hash::sha256;
use crate::tenant::Nid;

/// What every event id begins with.
const ID_PREFIX: &str = "evt_";
/// Bytes of the hash in an id that is made from what happened.
const ID_HASH_BYTES: usize = 16;

/// The id of what can happen once only, such as the end of a tenant's month: whoever tells of it makes the same one. The
/// parts are hashed, since names may hold what an id may not.
#[must_use]
pub fn id_of(parts: &[&str]) -> String {
    // With lengths, so that no parts read like others.
    let named: String = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
    let digest = sha256(named.as_bytes());
    format!("{ID_PREFIX}{}", hex::encode(digest.get(..ID_HASH_BYTES).unwrap_or(&digest)))
}

/// The id of the end of a tenant's month.
#[must_use]
pub fn id_of_period(nid: Nid, month: Month) -> String {
    id_of(&["billing", &nid.to_string(), &month.to_string()])
}

/// The id of an event that has a UUID.
#[must_use]
pub fn id_from(id: uuid::Uuid) -> String {
    format!("{ID_PREFIX}{}", id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_for_the_same_parts_and_for_no_others() {
        let id = id_of(&["budget", "a", "bc"]);
        assert_eq!(id, id_of(&["budget", "a", "bc"]));
        assert_ne!(id, id_of(&["budget", "ab", "c"]));
        assert_eq!((id.len(), &id[..4]), (36, "evt_"));
        assert_eq!(id_from(uuid::Uuid::nil()), format!("evt_{}", "0".repeat(32)));
    }
}
