//! A tenant's tree as it is stored: hashes for proofs, and the checkpoint they lead to.

use std::ops::Range;

use bh_domain::evidence::Hash;
use bh_domain::evidence::checkpoint::{self, CheckpointError};
use bh_domain::evidence::merkle::plan::consistency_ranges;
use bh_domain::evidence::merkle::{
    Frontier, FrontierError, MissingNode, NodeMap, ProofError, empty_root, fetch_plan, range_hashes,
    verify_consistency,
};
use bh_domain::tenant::{Nid, Scope};

use super::{EvidenceReads, Reach, ReadFault};

/// Hashes of a proof that are computed from one set of reads: what bounds memory for the proof of a large export.
const RANGES_PER_READ: usize = 256;
/// Leaves read in one go.
const LEAVES_PER_READ: u64 = 4_096;
/// Two runs of leaves nearer than this are read as one.
const GAP_READ_OVER: u64 = 64;

/// Why a stored tree proves nothing. Verification reports it as a finding; everything else as a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeDamage {
    /// A row is not there.
    #[error(transparent)]
    Missing(#[from] MissingNode),
    /// The tree's right edge cannot be read.
    #[error(transparent)]
    Frontier(#[from] FrontierError),
    /// The newest checkpoint is not one.
    #[error("the newest checkpoint is no proof: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The newest checkpoint is another tenant's.
    #[error("the newest checkpoint is of another tree")]
    Origin,
    /// The tree holds fewer records than were signed for, or than exist.
    #[error("the tree holds {size} records where {expected} were recorded")]
    Shrunk {
        /// Leaves in the stored tree.
        size: u64,
        /// Leaves that there must be.
        expected: u64,
    },
    /// The tree is not the one that was signed, grown on.
    #[error("the tree has been rewritten since its last checkpoint: {0}")]
    Rewritten(ProofError),
}

/// A tenant's tree with the signed note that vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTree {
    /// Number of records.
    pub size: u64,
    /// Root hash.
    pub root: Hash,
    /// The checkpoint, as a signed note.
    pub note: String,
}

impl EvidenceReads {
    /// The checkpoint over everything a tenant has on record by now; signs a fresh one when the tree has grown.
    /// `None` when the reach is not one tenant.
    ///
    /// # Errors
    /// When the store does not answer, or its tree is not the one that was signed before, grown on.
    pub async fn checkpoint(&self, reach: &Reach) -> Result<Option<SignedTree>, ReadFault> {
        let Some(nid) = reach.nid() else { return Ok(None) };
        let size = self.size(nid).await?;
        self.covering(&Scope::tenant(nid), nid, size).await.map(Some)
    }

    /// The public key that verifies checkpoints and exports, as a signed-note verifier key.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.checkpointer.key().public_key().to_string()
    }

    /// How many records a tenant's chain has.
    pub(super) async fn size(&self, nid: Nid) -> Result<u64, ReadFault> {
        Ok(self.store.heads(vec![nid]).await?.get(&nid).map_or(0, |head| head.seq))
    }

    /// The newest checkpoint if it covers the first `records` records, else a fresh one that does.
    pub(super) async fn covering(
        &self,
        scope: &Scope,
        nid: Nid,
        records: u64,
    ) -> Result<SignedTree, ReadFault> {
        let newest = self.newest(scope, nid).await?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.size >= records) {
            return Ok(newest.clone());
        }
        let (size, root) = self.head(nid).await?;
        let expected = records.max(newest.as_ref().map_or(0, |newest| newest.size));
        if size < expected {
            return Err(TreeDamage::Shrunk { size, expected }.into());
        }
        if let Some(newest) = &newest {
            self.consistent(scope, nid, newest, (size, &root)).await?;
        }
        let fresh = self.checkpointer.sign(nid, size, root);
        let note = fresh.note.clone();
        if size > 0
            && let Err(fault) = self.store.put_checkpoints(vec![fresh]).await
        {
            // Kept so that the next reader need not sign again; the note itself proves as much without, which is what
            // a command line that may only read lives on.
            tracing::debug!(error = &fault as &dyn std::error::Error, "a fresh checkpoint was not kept");
        }
        Ok(SignedTree { size, root, note })
    }

    /// The newest stored checkpoint, its signature checked. One by another key counts as none: keys may be changed.
    async fn newest(&self, scope: &Scope, nid: Nid) -> Result<Option<SignedTree>, ReadFault> {
        let Some(stored) = self.store.checkpoint(scope.clone(), nid).await? else { return Ok(None) };
        let key = self.checkpointer.key();
        let checkpoint = match key.public_key().verify(&stored.note) {
            Ok(checkpoint) => checkpoint,
            Err(CheckpointError::UnknownKey) => return Ok(None),
            Err(error @ (CheckpointError::Malformed | CheckpointError::Signature)) => {
                return Err(TreeDamage::Checkpoint(error).into());
            }
        };
        if checkpoint.origin != checkpoint::origin(key.name(), &nid.to_string()) {
            return Err(TreeDamage::Origin.into());
        }
        Ok(Some(SignedTree { size: checkpoint.size, root: checkpoint.root, note: stored.note }))
    }

    async fn head(&self, nid: Nid) -> Result<(u64, Hash), ReadFault> {
        let heads = self.store.heads(vec![nid]).await?;
        let Some(head) = heads.get(&nid) else { return Ok((0, empty_root())) };
        let frontier = Frontier::from_bytes(&head.frontier).map_err(TreeDamage::Frontier)?;
        if frontier.size() != head.seq {
            return Err(TreeDamage::Shrunk { size: frontier.size(), expected: head.seq }.into());
        }
        Ok((frontier.size(), frontier.root()))
    }

    /// Nothing is signed that does not contain what was signed before.
    async fn consistent(
        &self,
        scope: &Scope,
        nid: Nid,
        old: &SignedTree,
        (size, root): (u64, &Hash),
    ) -> Result<(), ReadFault> {
        let path = self.hashes(scope, nid, &consistency_ranges(old.size, size)).await?;
        let checked = verify_consistency((old.size, &old.root), (size, root), &path);
        Ok(checked.map_err(TreeDamage::Rewritten)?)
    }

    /// The hashes of ranges of leaves: the proof that consists of them. Reads at most a few hundred rows of each
    /// stored level for each edge of a range.
    pub(super) async fn hashes(
        &self,
        scope: &Scope,
        nid: Nid,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Hash>, ReadFault> {
        let mut hashes = Vec::with_capacity(ranges.len());
        for part in ranges.chunks(RANGES_PER_READ) {
            let rows = self.rows(scope, nid, part).await?;
            hashes.extend(range_hashes(part, &rows).map_err(TreeDamage::Missing)?);
        }
        Ok(hashes)
    }

    async fn rows(&self, scope: &Scope, nid: Nid, ranges: &[Range<u64>]) -> Result<NodeMap, ReadFault> {
        let plan = fetch_plan(ranges);
        let mut rows = NodeMap::default();
        for run in joined(&plan.leaf_ranges) {
            // Positions count from 0, records from 1.
            let hashes = self.store.leaf_hashes(scope.clone(), nid, run.start + 1, run.end).await?;
            for (index, hash) in numbered(&run, hashes, 0)? {
                rows.insert_leaf(index, hash);
            }
        }
        for (level, run) in plan.node_ranges {
            let hashes = self.store.nodes(scope.clone(), nid, level, run.start, run.end - 1).await?;
            for (index, hash) in numbered(&run, hashes, level)? {
                rows.insert_node(level, index, hash);
            }
        }
        Ok(rows)
    }
}

/// Gives rows that come in order their positions. One row too few and every position after it would be wrong.
fn numbered(run: &Range<u64>, hashes: Vec<Hash>, level: u8) -> Result<Vec<(u64, Hash)>, TreeDamage> {
    if hashes.len() as u64 != run.end - run.start {
        return Err(MissingNode { level, index: run.start }.into());
    }
    Ok(run.clone().zip(hashes).collect())
}

/// Runs of leaves put together where they are near each other, in pieces of bounded size.
fn joined(runs: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable_by_key(|run| run.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for run in sorted {
        match joined.last_mut() {
            Some(last)
                if run.start <= last.end + GAP_READ_OVER && run.end - last.start <= LEAVES_PER_READ =>
            {
                last.end = last.end.max(run.end);
            }
            Some(_) | None => joined.push(run),
        }
    }
    joined
}
