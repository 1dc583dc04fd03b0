//! What can be wrong with an export.

use std::fmt;

use crate::evidence::checkpoint::CheckpointError;
use crate::evidence::merkle::ProofError;

/// The first record of an export that is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Position in the file, from 0.
    pub index: u64,
    /// The record's id, where it could be read.
    pub id: Option<String>,
    /// The record's sequence number, where it could be read.
    pub seq: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read.
    Malformed(String),
    /// Its content is not what was signed.
    Edited,
    /// One or more records are missing in front of it; the first is named.
    Missing {
        /// Tenant of the missing record.
        tenant_id: String,
        /// Sequence number of the missing record.
        seq: u64,
    },
    /// It stands too early; the record that belongs here follows later.
    Reordered {
        /// Sequence number of the record that belongs here.
        expected_seq: u64,
    },
    /// It stood in the export before.
    Repeated,
    /// It is of a tenant the export is not about.
    Foreign {
        /// The tenant it names.
        tenant_id: String,
    },
    /// The metadata does not list it: it was put in.
    Unlisted,
    /// It names another hash for the record before it than that record has.
    BrokenLink,
    /// Its `hmac-sha256:` signature is not by the given key.
    Signature,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "it cannot be read: {why}"),
            Self::Edited => f.write_str("its content or signature was changed"),
            Self::Missing { tenant_id, seq } => {
                write!(f, "record {seq} of tenant {tenant_id} is missing here")
            }
            Self::Reordered { expected_seq } => {
                write!(f, "record {expected_seq} belongs here and comes later")
            }
            Self::Repeated => f.write_str("it occurs twice"),
            Self::Foreign { tenant_id } => {
                write!(f, "it belongs to tenant {tenant_id}, which is not in this export")
            }
            Self::Unlisted => f.write_str("it was added: the signed metadata does not list it"),
            Self::BrokenLink => f.write_str("its prev_hash is not the hash of the record before it"),
            Self::Signature => f.write_str("its hmac-sha256 signature is not by this key"),
        }
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record at index {}", self.index)?;
        if let Some(id) = &self.id {
            write!(f, ", id {id}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, ", seq {seq}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// Why an export is not what was signed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file is no export.
    #[error("not a signed export: {0}")]
    NotAnExport(String),
    /// Reading failed.
    #[error("the export cannot be read")]
    Read(#[from] std::io::Error),
    /// The metadata cannot be read.
    #[error("the export's metadata is damaged: {0}")]
    Metadata(String),
    /// The metadata carries no signature.
    #[error("the export's metadata is not signed")]
    Unsigned,
    /// Another key signed.
    #[error("the export was signed with another key")]
    WrongKey,
    /// The metadata was changed.
    #[error("the signature of the export's metadata is wrong")]
    MetadataSignature,
    /// A checkpoint proves nothing.
    #[error("the checkpoint of tenant {tenant_id}: {source}")]
    Checkpoint {
        /// Whose checkpoint.
        tenant_id: String,
        /// Why.
        source: CheckpointError,
    },
    /// The checkpoint belongs to another tenant's tree.
    #[error("the checkpoint of tenant {tenant_id} is of another tree")]
    CheckpointOrigin {
        /// Whose checkpoint.
        tenant_id: String,
    },
    /// A record is bad.
    #[error("{0}")]
    Record(BadRecord),
    /// The digest over a tenant's records differs, though each fingerprint fits.
    #[error("the digest over the records of tenant {tenant_id} differs")]
    Digest {
        /// Whose records.
        tenant_id: String,
    },
    /// The records are not in the tree of the checkpoint.
    #[error("the records of tenant {tenant_id} are not in the checkpoint's tree: {source}")]
    Proof {
        /// Whose records.
        tenant_id: String,
        /// Why.
        source: ProofError,
    },
}
