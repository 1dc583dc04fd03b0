//! Evidence: what was decided, in records that nobody can change, remove or reorder unnoticed.
//!
//! Each decision is one [`Record`]: canonical JSON with an `hmac-sha256:` signature (seed 002), a sequence number of
//! its tenant, and the hash of the record before it. The records of a tenant are the leaves of an RFC 6962 Merkle tree
//! ([`merkle`]) whose root is signed with Ed25519 in [`checkpoint`]s, so that whoever verifies cannot forge. An
//! [`export`] carries all of that with it and is verified offline with the public key alone.
//!
//! Pure code: ids, times, keys and hashes of content are passed in.

pub mod canonical;
pub mod checkpoint;
pub mod codes;
pub mod export;
pub mod hex;
pub mod merkle;
pub mod reading;
pub mod record;
mod scan;
mod seal;
pub mod talon;

pub use record::{Draft, Record};
pub use seal::{ChainHead, HmacKey, HmacKeyError, SIGNATURE_PREFIX, SealError, Sealed, seal};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What the first record of a tenant names as the hash of the record before it.
pub const GENESIS_HASH: Hash = [0; 32];
