//! Signed exports: records that carry their own proof.
//!
//! An export is JSON (`{"export_metadata":…,"records":[…]}`) or NDJSON (the metadata on the first line, then one
//! record a line). The metadata lists which records there are, a fingerprint of each, the checkpoint they belong to
//! and the Merkle multiproof that leads there, and is signed with Ed25519 as a whole. So the public key alone tells,
//! offline, whether a record was edited, removed, reordered or put in, and which one.

mod builder;
mod fault;
mod metadata;
mod stream;
mod verifier;

pub use builder::{BuildError, ExportWriter, Format, GroupBuilder, Heading};
pub use fault::{BadRecord, Fault, VerifyError};
pub use metadata::{ALGORITHM, Group, METADATA_BYTES_MAX};
pub use stream::{RECORD_BYTES_MAX, verify_export, verify_export_with_hmac, verify_read};
pub use verifier::{ExportVerifier, Report, Summary};

#[cfg(test)]
mod tests;
