//! Which hashes a proof consists of, and which stored rows they are put together from.
//!
//! Every proof of RFC 6962 is a list of subtree hashes, and every subtree is a range of leaves. So one list of ranges
//! describes any proof; [`fetch_plan`] says what to read for it, and [`range_hashes`] computes it.

use std::collections::HashMap;
use std::ops::Range;

use super::{LEAVES_MAX, STORED_LEVELS, fold_peaks, node_hash};
use crate::evidence::Hash;

/// Positions of leaves (from 0), as disjoint ascending ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafSet {
    runs: Vec<Range<u64>>,
}

impl LeafSet {
    /// Adds the next position. Positions come in ascending order and below [`LEAVES_MAX`]; one that does not is left
    /// out and answered `false`.
    pub fn push(&mut self, index: u64) -> bool {
        match self.runs.last_mut() {
            _ if index >= LEAVES_MAX => return false,
            Some(run) if index < run.end => return false,
            Some(run) if index == run.end => run.end += 1,
            Some(_) | None => self.runs.push(index..index + 1),
        }
        true
    }

    /// The set of ascending, disjoint, non-empty runs; `None` when they are anything else.
    #[must_use]
    pub fn from_runs(runs: Vec<Range<u64>>) -> Option<Self> {
        let ascending = runs.windows(2).all(|pair| pair[0].end < pair[1].start);
        (ascending && runs.iter().all(|run| run.start < run.end)).then_some(Self { runs })
    }

    /// The maximal runs of neighbouring positions.
    #[must_use]
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// Number of positions.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// The greatest position and one, or 0.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.end)
    }

    /// Whether a position is in the set.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        self.rank(index).is_some()
    }

    /// How many members stand before `index`, when it is a member itself.
    #[must_use]
    pub fn rank(&self, index: u64) -> Option<u64> {
        let next = self.runs.partition_point(|run| run.end <= index);
        let run = self.runs.get(next).filter(|run| run.start <= index)?;
        let before: u64 = self.runs[..next].iter().map(|run| run.end - run.start).sum();
        Some(before + index - run.start)
    }

    pub(super) fn meets(&self, range: &Range<u64>) -> bool {
        let next = self.runs.partition_point(|run| run.end <= range.start);
        self.runs.get(next).is_some_and(|run| run.start < range.end)
    }
}

impl FromIterator<u64> for LeafSet {
    fn from_iter<I: IntoIterator<Item = u64>>(positions: I) -> Self {
        let mut set = Self::default();
        for index in positions {
            set.push(index);
        }
        set
    }
}

/// Where RFC 6962 divides a range of more than one leaf: the largest power of two below its length, from its start.
pub(super) fn split(range: &Range<u64>) -> u64 {
    let length = range.end - range.start;
    range.start + (1 << (u64::BITS - 1 - (length - 1).leading_zeros()))
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the bottom up (RFC 6962 §2.1.1).
#[must_use]
pub fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut range, mut path) = (0..size, Vec::new());
    if index >= size {
        return path;
    }
    while range.end - range.start > 1 {
        let middle = split(&range);
        if index < middle {
            path.push(middle..range.end);
            range.end = middle;
        } else {
            path.push(range.start..middle);
            range.start = middle;
        }
    }
    path.reverse();
    path
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 6962 §2.1.2).
#[must_use]
pub fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let (mut range, mut path, mut whole) = (0..new, Vec::new(), true);
    if old == 0 || old >= new {
        return path;
    }
    while old != range.end {
        let middle = split(&range);
        if old <= middle {
            path.push(middle..range.end);
            range.end = middle;
        } else {
            path.push(range.start..middle);
            range.start = middle;
            whole = false;
        }
    }
    // The verifier knows the old root; when that is this very subtree, it need not be told.
    if !whole {
        path.push(range);
    }
    path.reverse();
    path
}

/// What a verifier who holds the leaves of `set` lacks to compute the root of the tree of `size` leaves: the largest
/// subtrees without a member, from left to right.
#[must_use]
pub fn multiproof_ranges(size: u64, set: &LeafSet) -> Vec<Range<u64>> {
    let (mut pending, mut needed) = (Vec::from([Range { start: 0, end: size }]), Vec::new());
    while let Some(range) = pending.pop() {
        if range.is_empty() {
            continue;
        }
        if !set.meets(&range) {
            needed.push(range);
        } else if range.end - range.start > 1 && !covers(set, &range) {
            let middle = split(&range);
            pending.push(middle..range.end);
            pending.push(range.start..middle);
        }
    }
    needed
}

fn covers(set: &LeafSet, range: &Range<u64>) -> bool {
    let next = set.runs.partition_point(|run| run.end <= range.start);
    set.runs.get(next).is_some_and(|run| run.start <= range.start && range.end <= run.end)
}

/// A complete subtree: level `l`, position `i` covers leaves `i·2^l .. (i+1)·2^l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// Height: 0 is a leaf.
    pub level: u8,
    /// Position among the subtrees of that height.
    pub index: u64,
}

impl Subtree {
    /// The nearest stored level at or below, and the positions there.
    fn stored_parts(self) -> (u8, Range<u64>) {
        let base = STORED_LEVELS.into_iter().rev().find(|level| *level <= self.level).unwrap_or(0);
        let height = self.level - base;
        (base, self.index << height..(self.index + 1) << height)
    }
}

/// Divides any range of leaves into the fewest complete, aligned subtrees, from left to right.
#[must_use]
pub fn decompose(range: &Range<u64>) -> Vec<Subtree> {
    let (mut start, mut parts) = (range.start, Vec::new());
    while start < range.end {
        let aligned = start.trailing_zeros().min(u64::BITS - 1);
        let fitting = u64::BITS - 1 - (range.end - start).leading_zeros();
        let level = aligned.min(fitting);
        // Below 64 by construction.
        parts.push(Subtree { level: level as u8, index: start >> level });
        start += 1 << level;
    }
    parts
}

/// The rows to read before [`range_hashes`] can answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchPlan {
    /// Positions (from 0) of leaf hashes.
    pub leaf_ranges: Vec<Range<u64>>,
    /// Level (one of [`STORED_LEVELS`]) and positions of stored nodes.
    pub node_ranges: Vec<(u8, Range<u64>)>,
}

/// What to read to hash the given ranges of leaves: at most 255 rows of each level for one edge of a range.
#[must_use]
pub fn fetch_plan(ranges: &[Range<u64>]) -> FetchPlan {
    let mut plan = FetchPlan::default();
    for subtree in ranges.iter().flat_map(decompose) {
        match subtree.stored_parts() {
            (0, leaves) => extend(&mut plan.leaf_ranges, leaves),
            (level, nodes) => match plan.node_ranges.last_mut() {
                Some((last, run)) if *last == level && run.end == nodes.start => run.end = nodes.end,
                Some(_) | None => plan.node_ranges.push((level, nodes)),
            },
        }
    }
    plan
}

fn extend(runs: &mut Vec<Range<u64>>, next: Range<u64>) {
    match runs.last_mut() {
        Some(run) if run.end == next.start => run.end = next.end,
        Some(_) | None => runs.push(next),
    }
}

/// Where leaf hashes (level 0) and stored nodes come from once they were read.
pub trait NodeSource {
    /// The hash of the complete subtree at `level` (0 or one of [`STORED_LEVELS`]) and `index`.
    fn node(&self, level: u8, index: u64) -> Option<Hash>;
}

/// Rows read by the caller, in memory.
#[derive(Clone, Debug, Default)]
pub struct NodeMap(pub(super) HashMap<(u8, u64), Hash>);

impl NodeMap {
    /// Adds a leaf hash at its position (`seq` - 1).
    pub fn insert_leaf(&mut self, index: u64, hash: Hash) {
        self.insert_node(0, index, hash);
    }

    /// Adds a stored node.
    pub fn insert_node(&mut self, level: u8, index: u64, hash: Hash) {
        self.0.insert((level, index), hash);
    }
}

impl NodeSource for NodeMap {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self.0.get(&(level, index)).copied()
    }
}

/// A row that the store should have held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evidence tree lacks the node of level {level} at position {index}")]
pub struct MissingNode {
    /// 0 for a leaf, else one of [`STORED_LEVELS`].
    pub level: u8,
    /// Position at that level.
    pub index: u64,
}

/// The hashes of the given subtrees, in order: the proof itself.
///
/// # Errors
/// [`MissingNode`] names the first row that is not there.
pub fn range_hashes(ranges: &[Range<u64>], source: &impl NodeSource) -> Result<Vec<Hash>, MissingNode> {
    ranges.iter().map(|range| range_hash(range, source)).collect()
}

fn range_hash(range: &Range<u64>, source: &impl NodeSource) -> Result<Hash, MissingNode> {
    let peaks: Vec<Hash> =
        decompose(range).into_iter().map(|part| subtree_hash(part, source)).collect::<Result<_, _>>()?;
    fold_peaks(&peaks).ok_or(MissingNode { level: 0, index: range.start })
}

fn subtree_hash(subtree: Subtree, source: &impl NodeSource) -> Result<Hash, MissingNode> {
    let (level, positions) = subtree.stored_parts();
    let read = |index| source.node(level, index).ok_or(MissingNode { level, index });
    let mut row: Vec<Hash> = positions.map(read).collect::<Result<_, _>>()?;
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row.first().copied().ok_or(MissingNode { level, index: subtree.index })
}
