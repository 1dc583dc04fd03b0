//! SHA-256 of a text.

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    // The algorithm's output is 32 bytes long.
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
