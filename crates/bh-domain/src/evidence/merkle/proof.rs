//! Checking proofs. Nothing here trusts its input.

use std::ops::Range;

use super::plan::{LeafSet, split};
use super::{LEAVES_MAX, empty_root, node_hash};
use crate::evidence::Hash;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A position or size outside the tree.
    #[error("the position lies outside the tree")]
    OutOfRange,
    /// Too few or too many hashes.
    #[error("the proof has the wrong length")]
    WrongLength,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// Checks that `leaf` stands at position `index` (from 0) of the tree of `size` leaves with root `root`
/// (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError`] says in which way the proof fails.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size || size > LEAVES_MAX {
        return Err(ProofError::OutOfRange);
    }
    let (mut position, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            // A right edge that is no right child rises until it becomes one.
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Checks that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 9162 §2.1.4.2).
/// A tree is a prefix of itself, and the empty tree of every tree, each with an empty proof.
///
/// # Errors
/// [`ProofError`] says in which way the proof fails.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    path: &[Hash],
) -> Result<(), ProofError> {
    if old > new || new > LEAVES_MAX {
        return Err(ProofError::OutOfRange);
    }
    if old == new || old == 0 {
        let expected = if old == new { *new_root } else { empty_root() };
        return match (path.is_empty(), expected == *old_root) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::WrongRoot),
            (false, _) => Err(ProofError::WrongLength),
        };
    }
    let (mut position, mut last) = (old - 1, new - 1);
    while position & 1 == 1 {
        position >>= 1;
        last >>= 1;
    }
    // An old tree that is one complete subtree is itself the first node of the path.
    let (first, rest) = match path.split_first() {
        Some(_) if old.is_power_of_two() => (*old_root, path),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::WrongLength),
    };
    let climbed = climb(first, rest, position, last).ok_or(ProofError::WrongLength)?;
    if climbed == (*old_root, *new_root) { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Rebuilds the old and the new root from a consistency path; `None` when its length is wrong.
fn climb(first: Hash, path: &[Hash], mut position: u64, mut last: u64) -> Option<(Hash, Hash)> {
    let (mut old, mut new) = (first, first);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if position & 1 == 1 || position == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((old, new))
}

/// The root of the tree of `size` leaves, from the hashes of the leaves of `set` (in order) and the proof made of
/// [`super::plan::multiproof_ranges`].
///
/// # Errors
/// [`ProofError::OutOfRange`] for a position beyond the tree, [`ProofError::WrongLength`] when hashes are missing or
/// left over.
pub fn multiproof_root(
    size: u64,
    set: &LeafSet,
    leaves: &[Hash],
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if set.end() > size || size > LEAVES_MAX {
        return Err(ProofError::OutOfRange);
    }
    if size == 0 {
        return if proof.is_empty() && leaves.is_empty() {
            Ok(empty_root())
        } else {
            Err(ProofError::WrongLength)
        };
    }
    let mut rebuild = Rebuild { set, leaves: leaves.iter(), proof: proof.iter() };
    let root = rebuild.subtree(0..size)?;
    let exhausted = rebuild.leaves.next().is_none() && rebuild.proof.next().is_none();
    if exhausted { Ok(root) } else { Err(ProofError::WrongLength) }
}

/// Checks a multiproof against a known root.
///
/// # Errors
/// [`ProofError`] says in which way the proof fails.
pub fn verify_multiproof(
    (size, root): (u64, &Hash),
    set: &LeafSet,
    leaves: &[Hash],
    proof: &[Hash],
) -> Result<(), ProofError> {
    let rebuilt = multiproof_root(size, set, leaves, proof)?;
    if rebuilt == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

struct Rebuild<'a> {
    set: &'a LeafSet,
    leaves: std::slice::Iter<'a, Hash>,
    proof: std::slice::Iter<'a, Hash>,
}

impl Rebuild<'_> {
    // Recursion is bounded by the height of the tree: at most 48, by LEAVES_MAX.
    fn subtree(&mut self, range: Range<u64>) -> Result<Hash, ProofError> {
        if !self.set.meets(&range) {
            return self.proof.next().copied().ok_or(ProofError::WrongLength);
        }
        if range.end - range.start == 1 {
            return self.leaves.next().copied().ok_or(ProofError::WrongLength);
        }
        let middle = split(&range);
        let left = self.subtree(range.start..middle)?;
        let right = self.subtree(middle..range.end)?;
        Ok(node_hash(&left, &right))
    }
}
