//! The evidence record: what was decided about one call, and what it cost.
//!
//! Names follow the record of seed 002 where they apply. Two rules make the plain serialisation of a record its
//! canonical text (RFC 8785), so that sealing costs one pass: members are declared in lexicographic order, and there
//! are no floats (money is a decimal string beside an integer of nano units). A test holds both rules.

mod body;
mod parts;
mod text;

use serde::{Deserialize, Serialize, Serializer};

pub use body::Draft;
pub use parts::{
    AuditTrail, Classification, Compliance, ContentHash, CostBudget, Durability, Execution, Explanation,
    Failover, PolicyDecision, RejectedCandidate, RoutingDecision, SessionBudget, Text, Tokens,
};

use super::{Hash, hex};
use body::Linked;

/// One sealed record as it is stored, served and exported: a [`Draft`] with its place in the tenant's chain.
///
/// Its serialisation is the canonical text of the record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// What was decided.
    #[serde(flatten)]
    pub draft: Draft,
    /// Leaf hash of the tenant's record before this one; [`super::GENESIS_HASH`] for the first.
    #[serde(deserialize_with = "hex::deserialize_hash")]
    pub prev_hash: Hash,
    /// Position in the tenant's chain, from 1, without gaps.
    pub seq: u64,
    /// `hmac-sha256:` and 64 hexadecimal digits, over the record with an empty signature.
    pub signature: String,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Linked { draft: &self.draft, prev_hash: &self.prev_hash, seq: self.seq, signature: &self.signature }
            .serialize(to)
    }
}

/// The text of `draft` at its place in the chain, with an empty signature: the bytes that are signed and hashed.
pub(super) fn unsigned_text(draft: &Draft, seq: u64, prev_hash: &Hash) -> Result<String, serde_json::Error> {
    /// A little above the usual size of a record, so that the buffer grows at most once.
    const RECORD_BYTES_USUAL: usize = 2_048;
    let mut text = Vec::with_capacity(RECORD_BYTES_USUAL);
    serde_json::to_writer(&mut text, &Linked { draft, prev_hash, seq, signature: "" })?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

#[cfg(test)]
pub(super) mod samples;

#[cfg(test)]
mod tests;
