//! The tree over one tenant's records: RFC 6962 §2.1 with SHA-256.
//!
//! Appending keeps only the [`Frontier`], and hands out the roots of complete subtrees of 256, 65,536 and 16,777,216
//! leaves for storage. Every proof is a list of hashes of leaf ranges ([`plan`]), and any such range is put together
//! from at most a few hundred stored rows, whatever the size of the tree.

pub mod plan;
pub mod proof;

use crate::hash::sha256;
use aws_lc_rs::digest::{Context, Digest, SHA256};

use super::Hash;

pub use plan::{FetchPlan, LeafSet, MissingNode, NodeMap, NodeSource, fetch_plan, range_hashes};
pub use proof::{ProofError, multiproof_root, verify_consistency, verify_inclusion, verify_multiproof};

/// Levels whose complete subtrees are stored: a node of level `l` covers `2^l` leaves.
pub const STORED_LEVELS: [u8; 3] = [8, 16, 24];

/// The largest tree: beyond it positions would not survive arithmetic on ranges.
pub const LEAVES_MAX: u64 = 1 << 48;

/// The hash of a leaf: SHA-256 over a zero byte and the leaf's data.
#[must_use]
pub fn leaf_hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    parts.iter().for_each(|part| context.update(part));
    to_hash(&context.finish())
}

/// The hash of an interior node: SHA-256 over a one byte and the two children.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut data = [1; 65];
    data[1..33].copy_from_slice(left);
    data[33..].copy_from_slice(right);
    sha256(&data)
}

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(b"")
}

pub(super) fn to_hash(digest: &Digest) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// The root over complete subtrees, largest first, as they stand side by side from the left.
pub(super) fn fold_peaks(peaks: &[Hash]) -> Option<Hash> {
    let (last, rest) = peaks.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The root of a complete subtree, to be stored: level `l`, position `i` covers leaves `i·2^l .. (i+1)·2^l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// One of [`STORED_LEVELS`].
    pub level: u8,
    /// Position among the nodes of that level.
    pub index: u64,
    /// The node's hash.
    pub hash: Hash,
}

/// What appending needs to know about a tree: the roots of its complete subtrees, at most one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// A text that is no frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored tree frontier is damaged: {bytes} bytes do not describe a tree")]
pub struct FrontierError {
    /// How many bytes there were.
    pub bytes: usize,
}

impl Frontier {
    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf, in amortised constant time, and returns the complete subtrees of [`STORED_LEVELS`] it closes,
    /// smallest first.
    pub fn append(&mut self, leaf: Hash) -> Vec<Node> {
        let mut closed = Vec::new();
        let (mut hash, mut level, mut index) = (leaf, 0_u8, self.size);
        // A set bit of the size is a complete subtree that waits for its right sibling.
        while index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            if STORED_LEVELS.contains(&level) {
                closed.push(Node { level, index, hash });
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        closed
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_peaks(&self.peaks).unwrap_or_else(empty_root)
    }

    /// The frontier as bytes: the size (8, big-endian) and the peaks (32 each), largest subtree first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 32 * self.peaks.len());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak));
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`FrontierError`] when the length does not fit the size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let damaged = FrontierError { bytes: bytes.len() };
        let (size, peaks) = bytes.split_first_chunk::<8>().ok_or(damaged)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let fits = rest.is_empty() && peaks.len() == size.count_ones() as usize && size <= LEAVES_MAX;
        if fits { Ok(Self { size, peaks: peaks.to_vec() }) } else { Err(damaged) }
    }
}

#[cfg(test)]
mod tests;
