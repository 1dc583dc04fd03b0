//! The head of an export.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::VerifyError;
use crate::evidence::Hash;
use crate::evidence::canonical::{canonical, parse_strict};
use crate::evidence::checkpoint::PublicKey;
use crate::evidence::hex;
use crate::evidence::merkle::{LeafSet, to_hash};

/// What `algorithm` says in our exports; Talon's own say `HMAC-SHA256`.
pub const ALGORITHM: &str = "Ed25519+HMAC-SHA256";

/// The longest metadata that is read: enough for some 30 million records.
pub const METADATA_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of each record's fingerprint: enough to name a changed record; the digests are what proves.
pub(super) const FINGERPRINT_BYTES: usize = 4;

/// The records of one tenant in an export, and what proves them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The tenant.
    pub tenant_id: String,
    /// The tenant's network id.
    pub nid: String,
    /// Sequence number of the first record; 0 when there is none.
    pub first_seq: u64,
    /// Sequence number of the last record; 0 when there is none.
    pub last_seq: u64,
    /// Runs of sequence numbers, each `[first, last]`.
    pub seqs: Vec<[u64; 2]>,
    /// Four bytes for each record, in order, as base64: the start of SHA-256 over leaf hash and signature.
    pub fingerprints: String,
    /// SHA-256 over the leaf hashes, in order.
    pub records_digest: String,
    /// SHA-256 over the texts of the signatures, in order.
    pub signatures_digest: String,
    /// The checkpoint the proof leads to, as a signed note.
    pub checkpoint: String,
    /// The multiproof: base64 of one hash each, from left to right.
    pub proof: Vec<String>,
}

/// The metadata as it stands in an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    pub(super) generated_at: String,
    pub(super) bulkhead_version: String,
    pub(super) filter: Value,
    pub(super) total_records: u64,
    pub(super) algorithm: String,
    pub(super) signed: bool,
    pub(super) public_key: String,
    /// The group of an export with one tenant.
    #[serde(flatten)]
    pub(super) single: Option<Group>,
    /// The groups of an export with several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<Group>,
}

impl Metadata {
    /// Reads the metadata after checking that `key` signed all of it.
    pub(super) fn verified(text: &[u8], key: &PublicKey) -> Result<Self, VerifyError> {
        let mut value = parse_strict(text).map_err(|error| VerifyError::Metadata(error.to_string()))?;
        let signature = value.as_object_mut().and_then(|members| members.remove("signature"));
        let signature = signature.as_ref().and_then(Value::as_str).ok_or(VerifyError::Unsigned)?;
        let public_key =
            value.get("public_key").and_then(Value::as_str).and_then(|text| PublicKey::parse(text).ok());
        if public_key.is_some_and(|own| !own.same_key(key)) {
            return Err(VerifyError::WrongKey);
        }
        if !key.verifies_base64(canonical(&value).as_bytes(), signature) {
            return Err(VerifyError::MetadataSignature);
        }
        let metadata: Self =
            serde_json::from_value(value).map_err(|error| VerifyError::Metadata(error.to_string()))?;
        if metadata.algorithm != ALGORITHM {
            return Err(VerifyError::Metadata(format!("unknown algorithm `{}`", metadata.algorithm)));
        }
        Ok(metadata)
    }

    pub(super) fn into_groups(self) -> Vec<Group> {
        self.single.into_iter().chain(self.groups).collect()
    }
}

impl Group {
    /// The positions in the tenant's tree (`seq` - 1); `None` when the runs are not ascending and disjoint.
    pub(super) fn leaf_set(&self) -> Option<LeafSet> {
        let run = |[first, last]: &[u64; 2]| (*first > 0).then(|| first - 1..*last);
        LeafSet::from_runs(self.seqs.iter().map(run).collect::<Option<_>>()?)
    }

    pub(super) fn proof_hashes(&self) -> Option<Vec<Hash>> {
        self.proof.iter().map(|text| STANDARD.decode(text).ok()?.try_into().ok()).collect()
    }

    pub(super) fn fingerprint_bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.fingerprints).ok()
    }
}

/// The running digests over the records of a group, the same on both sides.
pub(super) struct Digests {
    records: Context,
    signatures: Context,
}

impl Digests {
    pub(super) fn new() -> Self {
        Self { records: Context::new(&SHA256), signatures: Context::new(&SHA256) }
    }

    /// Takes a record in and returns its fingerprint.
    pub(super) fn push(&mut self, leaf_hash: &Hash, signature: &str) -> [u8; FINGERPRINT_BYTES] {
        self.records.update(leaf_hash);
        self.signatures.update(signature.as_bytes());
        let mut context = Context::new(&SHA256);
        context.update(leaf_hash);
        context.update(signature.as_bytes());
        let hash = to_hash(&context.finish());
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// `records_digest` and `signatures_digest`.
    pub(super) fn finish(self) -> (String, String) {
        let text = |context: Context| ["sha256:", &hex::encode(&to_hash(&context.finish()))].concat();
        (text(self.records), text(self.signatures))
    }
}
