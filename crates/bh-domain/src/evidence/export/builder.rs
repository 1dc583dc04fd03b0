//! Writing an export: a summary of the records first, then the records themselves, one at a time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::metadata::{ALGORITHM, Digests, Group, Metadata};
use crate::evidence::Hash;
use crate::evidence::canonical::canonical;
use crate::evidence::checkpoint::SigningKey;
use crate::evidence::merkle::LeafSet;
use crate::tenant::Nid;
use crate::time::Timestamp;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document, a record a line.
    Json,
    /// The metadata on the first line, then a record a line.
    Ndjson,
}

/// Why an export cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Records come in ascending order of their sequence numbers, from 1.
    #[error("evidence record {0} is out of order in the export")]
    OutOfOrder(u64),
    /// Fewer or more records were written than the metadata lists.
    #[error("{written} records were written to an export of {listed}")]
    Count {
        /// How many the metadata lists.
        listed: u64,
        /// How many came.
        written: u64,
    },
    /// The metadata could not be written as JSON.
    #[error("the export's metadata cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Summarises the records of one tenant: four bytes are kept of each.
pub struct GroupBuilder {
    tenant_id: String,
    nid: Nid,
    set: LeafSet,
    fingerprints: Vec<u8>,
    digests: Digests,
}

impl std::fmt::Debug for GroupBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("tenant_id", &self.tenant_id)
            .field("set", &self.set)
            .finish_non_exhaustive()
    }
}

impl GroupBuilder {
    /// A group without records.
    #[must_use]
    pub fn new(tenant_id: &str, nid: Nid) -> Self {
        let (set, fingerprints) = (LeafSet::default(), Vec::new());
        Self { tenant_id: tenant_id.to_owned(), nid, set, fingerprints, digests: Digests::new() }
    }

    /// Takes the next record in: its sequence number, its leaf hash, and its `signature` as text.
    ///
    /// # Errors
    /// [`BuildError::OutOfOrder`] when the sequence number does not ascend.
    pub fn push(&mut self, seq: u64, leaf_hash: &Hash, signature: &str) -> Result<(), BuildError> {
        let ascends = seq.checked_sub(1).is_some_and(|index| self.set.push(index));
        if !ascends {
            return Err(BuildError::OutOfOrder(seq));
        }
        self.fingerprints.extend_from_slice(&self.digests.push(leaf_hash, signature));
        Ok(())
    }

    /// The positions in the tree, for [`crate::evidence::merkle::plan::multiproof_ranges`].
    #[must_use]
    pub fn leaf_set(&self) -> &LeafSet {
        &self.set
    }

    /// The finished group, with a signed checkpoint and the multiproof of [`GroupBuilder::leaf_set`] in its tree.
    #[must_use]
    pub fn finish(self, checkpoint: String, proof: &[Hash]) -> Group {
        let (records_digest, signatures_digest) = self.digests.finish();
        let seqs: Vec<_> = self.set.runs().iter().map(|run| [run.start + 1, run.end]).collect();
        Group {
            tenant_id: self.tenant_id,
            nid: self.nid.to_string(),
            first_seq: seqs.first().map_or(0, |[first, _]| *first),
            last_seq: self.set.end(),
            seqs,
            fingerprints: STANDARD.encode(self.fingerprints),
            records_digest,
            signatures_digest,
            checkpoint,
            proof: proof.iter().map(|hash| STANDARD.encode(hash)).collect(),
        }
    }
}

/// What an export says about itself.
#[derive(Clone, Debug)]
pub struct Heading {
    /// When it was made.
    pub generated_at: Timestamp,
    /// Version of the server.
    pub bulkhead_version: String,
    /// What was asked for, as given.
    pub filter: Value,
}

/// Writes an export piece by piece: [`header`](Self::header), each [`record`](Self::record), [`finish`](Self::finish).
#[derive(Debug)]
pub struct ExportWriter {
    format: Format,
    metadata: String,
    listed: u64,
    written: u64,
}

impl ExportWriter {
    /// Signs the metadata. The records to come are those of `groups`, in the same order.
    ///
    /// # Errors
    /// [`BuildError::Json`] when the metadata has no JSON form.
    pub fn new(
        heading: Heading,
        mut groups: Vec<Group>,
        key: &SigningKey,
        format: Format,
    ) -> Result<Self, BuildError> {
        let listed = groups.iter().flat_map(|group| &group.seqs).map(|[first, last]| last - first + 1).sum();
        let single = if groups.len() == 1 { groups.pop() } else { None };
        let metadata = Metadata {
            generated_at: heading.generated_at.rfc3339(),
            bulkhead_version: heading.bulkhead_version,
            filter: heading.filter,
            total_records: listed,
            algorithm: ALGORITHM.to_owned(),
            signed: true,
            public_key: key.public_key().to_string(),
            single,
            groups,
        };
        let mut value = serde_json::to_value(metadata)?;
        let signature = key.sign_bytes(canonical(&value).as_bytes());
        value["signature"] = Value::String(signature);
        Ok(Self { format, metadata: canonical(&value), listed, written: 0 })
    }

    /// What stands before the records.
    #[must_use]
    pub fn header(&self) -> String {
        match self.format {
            Format::Json => format!("{{\"export_metadata\":{},\"records\":[", self.metadata),
            Format::Ndjson => format!("{{\"export_metadata\":{}}}\n", self.metadata),
        }
    }

    /// Appends one record, given as its canonical text.
    pub fn record(&mut self, canonical: &str, to: &mut String) {
        match (self.format, self.written) {
            (Format::Json, 0) => to.push('\n'),
            (Format::Json, _) => to.push_str(",\n"),
            (Format::Ndjson, _) => {}
        }
        to.push_str(canonical);
        if self.format == Format::Ndjson {
            to.push('\n');
        }
        self.written += 1;
    }

    /// Appends what stands after the records.
    ///
    /// # Errors
    /// [`BuildError::Count`] when other records were written than listed: the export would not verify.
    pub fn finish(self, to: &mut String) -> Result<(), BuildError> {
        if self.format == Format::Json {
            to.push_str("\n]}\n");
        }
        let Self { listed, written, .. } = self;
        if listed == written { Ok(()) } else { Err(BuildError::Count { listed, written }) }
    }
}
