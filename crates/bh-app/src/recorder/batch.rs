//! From queued entries to a sealed batch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bh_domain::budget::Owner;
use bh_domain::evidence::merkle::Frontier;
use bh_domain::evidence::{ChainHead, HmacKey, seal};
use bh_domain::tenant::Nid;

use super::queue::{Entry, Pending};
use crate::ports::{
    AuditEvent, Batch, EvidenceStore, HeadUpdate, Holder, NodeRow, RecordRow, SpendDelta, StoreFault,
    StoredHead, UsageDelta, UsageKey, UsageSums,
};

/// Chain heads kept in memory; the least useful are re-read from the store when there are more tenants.
const HEADS_MAX: usize = 65_536;

/// Records that are sealed in one piece where others may come in between.
const GENTLE_RECORDS: usize = 4;

/// Gives records their place in the chains.
pub(super) struct Sealer {
    key: HmacKey,
    /// As committed.
    heads: HashMap<Nid, ChainHead>,
    /// As they will be once the batch under way is durable.
    next: HashMap<Nid, ChainHead>,
    /// Have grown since they were last signed.
    dirty: HashSet<Nid>,
    /// The same, in the order in which they began to wait for it.
    unsigned: VecDeque<Nid>,
}

impl Sealer {
    pub(super) fn new(key: HmacKey) -> Self {
        Self {
            key,
            heads: HashMap::new(),
            next: HashMap::new(),
            dirty: HashSet::new(),
            unsigned: VecDeque::new(),
        }
    }

    /// Reads the heads this batch needs and memory does not hold.
    pub(super) async fn load_heads(
        &mut self,
        store: &dyn EvidenceStore,
        pending: &[Pending],
    ) -> Result<(), StoreFault> {
        if self.heads.len() > HEADS_MAX {
            let dirty = &self.dirty;
            self.heads.retain(|nid, _| dirty.contains(nid));
        }
        let missing: HashSet<Nid> =
            pending.iter().map(|p| p.entry.draft.nid).filter(|nid| !self.heads.contains_key(nid)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let stored = store.heads(missing.iter().copied().collect()).await?;
        for nid in missing {
            self.heads.insert(nid, stored.get(&nid).map_or_else(|| Ok(ChainHead::default()), restored)?);
        }
        Ok(())
    }

    /// Seals every entry on top of the heads, in order. One that has no exact form is replaced first, for good. Gently,
    /// other tasks come in between.
    pub(super) async fn seal(
        &mut self,
        holder: Holder,
        pending: &mut [Pending],
        gentle: bool,
    ) -> Result<Arc<Batch>, StoreFault> {
        self.next.clear();
        let mut batch = Batch { holder, gentle, ..Batch::default() };
        let mut spend: HashMap<(Nid, Owner, String), SpendDelta> = HashMap::new();
        let mut usage: HashMap<UsageKey, UsageSums> = HashMap::new();
        for some in pending.chunks_mut(GENTLE_RECORDS) {
            if gentle && !batch.records.is_empty() {
                tokio::task::yield_now().await;
            }
            for entry in some.iter_mut().map(|pending| &mut pending.entry) {
                self.seal_entry(entry, &mut batch)?;
                entry.spend.iter().for_each(|delta| add_up(&mut spend, delta));
                entry.usage.iter().for_each(|delta| add_usage(&mut usage, delta));
            }
        }
        batch.heads = self.next.iter().map(|(nid, head)| self.head_update(*nid, head)).collect();
        batch.heads.sort_by_key(|head| head.nid);
        batch.spend = spend.into_values().collect();
        batch.spend.sort_by(|a, b| (a.nid, &a.owner, &a.window).cmp(&(b.nid, &b.owner, &b.window)));
        batch.usage = usage.into_iter().map(|(key, sums)| UsageDelta { key, sums }).collect();
        batch.usage.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Arc::new(batch))
    }

    fn seal_entry(&mut self, entry: &mut Entry, batch: &mut Batch) -> Result<(), StoreFault> {
        let nid = entry.draft.nid;
        let head = self
            .next
            .entry(nid)
            .or_insert_with(|| self.heads.get(&nid).cloned().unwrap_or_else(ChainHead::default));
        let sealed = match seal(&entry.draft, head, &self.key) {
            Ok(sealed) => sealed,
            Err(cause) => {
                entry.make_sealable(&cause);
                seal(&entry.draft, head, &self.key).map_err(|cause| fault("seal a record", cause))?
            }
        };
        let nodes = head.advance(&sealed);
        let rows = nodes.into_iter().map(|n| NodeRow { nid, level: n.level, index: n.index, hash: n.hash });
        batch.nodes.extend(rows);
        batch.records.push(RecordRow {
            nid,
            seq: sealed.seq,
            id: entry.draft.id.to_string(),
            at: entry.draft.timestamp,
            leaf_hash: sealed.leaf_hash,
            caller: entry.draft.agent_id.to_string(),
            invocation_type: entry.draft.invocation_type.to_string(),
            allowed: entry.draft.policy_decision.allowed,
            model: entry.draft.execution.model_used.to_string(),
            session_id: entry.draft.session_id.as_ref().map(ToString::to_string),
            record: sealed.canonical.into(),
        });
        batch.contents.extend(entry.contents.iter().cloned());
        batch.audit.extend(entry.audit.iter().map(|event| (nid, AuditEvent::clone(event))));
        Ok(())
    }

    fn head_update(&self, nid: Nid, head: &ChainHead) -> HeadUpdate {
        let from_seq = self.heads.get(&nid).map_or(0, |committed| committed.seq);
        HeadUpdate {
            nid,
            from_seq,
            to_seq: head.seq,
            leaf_hash: head.leaf_hash,
            frontier: head.frontier.to_bytes(),
        }
    }

    /// The batch is durable.
    pub(super) fn commit(&mut self) {
        for (nid, head) in self.next.drain() {
            if self.dirty.insert(nid) {
                self.unsigned.push_back(nid);
            }
            self.heads.insert(nid, head);
        }
    }

    /// Another process has moved these chains on.
    pub(super) fn forget(&mut self, nids: &[Nid]) {
        for nid in nids {
            self.heads.remove(nid);
        }
    }

    /// At most `count` heads that have grown, those that wait longest first.
    pub(super) fn take_dirty(&mut self, count: usize) -> Vec<(Nid, u64, [u8; 32])> {
        let mut taken = Vec::with_capacity(count.min(self.unsigned.len()));
        while taken.len() < count
            && let Some(nid) = self.unsigned.pop_front()
        {
            self.dirty.remove(&nid);
            // Unless another process has moved it on meanwhile, which signs it then.
            if let Some(head) = self.heads.get(&nid) {
                taken.push((nid, head.seq, head.frontier.root()));
            }
        }
        taken
    }
}

fn restored(stored: &StoredHead) -> Result<ChainHead, StoreFault> {
    let frontier =
        Frontier::from_bytes(&stored.frontier).map_err(|cause| fault("read a chain head", cause))?;
    Ok(ChainHead { seq: stored.seq, leaf_hash: stored.leaf_hash, frontier })
}

fn fault(step: &'static str, cause: impl std::error::Error + Send + Sync + 'static) -> StoreFault {
    StoreFault { step, cause: Box::new(cause) }
}

fn add_up(sums: &mut HashMap<(Nid, Owner, String), SpendDelta>, delta: &SpendDelta) {
    let key = (delta.nid, delta.owner.clone(), delta.window.clone());
    let Some(sum) = sums.get_mut(&key) else {
        sums.insert(key, delta.clone());
        return;
    };
    sum.calls += delta.calls;
    sum.denied += delta.denied;
    sum.failed += delta.failed;
    sum.cost += delta.cost;
    sum.tokens.input += delta.tokens.input;
    sum.tokens.output += delta.tokens.output;
    sum.tokens.cache_read += delta.tokens.cache_read;
    sum.tokens.cache_write += delta.tokens.cache_write;
    sum.tokens.reasoning += delta.tokens.reasoning;
}

fn add_usage(sums: &mut HashMap<UsageKey, UsageSums>, delta: &UsageDelta) {
    match sums.get_mut(&delta.key) {
        Some(sum) => sum.add(&delta.sums),
        None => drop(sums.insert(delta.key.clone(), delta.sums)),
    }
}
