//! The audit trail as part of the evidence: events are anchored in the installation's own chain (decision 27).
//!
//! An anchor is a name that some events are given, and then a record in that chain with the root of a Merkle tree over them.
//! Whoever changes, removes or renames an anchored event changes the root, and cannot change the record unnoticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bh_domain::evidence::merkle::{Frontier, leaf_hash};
use bh_domain::evidence::{Hash, hex};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::evidence::own::OwnRecord;
use crate::evidence::view::parsed;
use crate::ports::TenantStore;
use crate::ports::{Anchor, AnchorStore, AuditEvent, Clock, EvidenceStore, StoreFault, StoredRecord};
use crate::recorder::{Entry, Recorder};
use crate::snapshot::{Durability, Live};

/// `invocation_type` of the record.
const AUDIT: &str = "audit";
/// Who decided, and the thread that ties the records together.
const ACTOR: &str = "bulkhead:audit";
/// How the installation is named where tenants are.
const INSTALLATION: &str = "installation";
/// Events of one anchor: so few that no record waits long for the transaction that names them.
const ANCHOR_EVENTS_MAX: u32 = 250;
/// Anchors of one kind in one round; the rest waits for the next one.
const ANCHORS_PER_ROUND_MAX: usize = 32;
/// How often what goes with time is anchored: its anchors' records stay, and nobody is to fill the evidence by being refused.
const FADING_EVERY_MS: i64 = 60_000;
/// The job that one process does at a time, and how long a dead one keeps the others from it.
const JOB: &str = "audit anchors";
const CLAIM: Duration = Duration::from_secs(30);
const WHY: &str = "audit anchors";
/// Rows of the chain that one read spans.
const CHAIN_PAGE: u32 = 500;
const ANCHOR_NOTE: &str = "anchor=";
const EVENTS_NOTE: &str = "events=";
const ROOT_NOTE: &str = "root=";
const FADING_NOTE: &str = "fading";

/// What anchors are made of.
#[derive(Clone)]
pub struct Anchors {
    /// Events.
    pub audit: Arc<dyn AnchorStore>,
    /// Who may make anchors.
    pub claims: Arc<dyn TenantStore>,
    /// Records.
    pub recorder: Recorder,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The configuration in force.
    pub live: Live,
    /// When what goes with time is anchored.
    pub fading: Arc<FadingPace>,
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchors").finish_non_exhaustive()
    }
}

/// When what goes with time was anchored last.
#[derive(Debug, Default)]
pub struct FadingPace(AtomicI64);

impl FadingPace {
    /// Whether it is time for it; asked once a round.
    fn is_due(&self, now: Timestamp) -> bool {
        let is_due = now.0.saturating_sub(self.0.load(Ordering::Relaxed)) >= FADING_EVERY_MS;
        if is_due {
            self.0.store(now.0, Ordering::Relaxed);
        }
        is_due
    }

    /// The next round is not to wait.
    fn go_on(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Anchors {
    /// Anchors what has no anchor yet, what goes with time once a minute unless this is the `last` round of a process, and
    /// puts on record what another process has left open. Returns how many events were given an anchor; none while another
    /// process does it.
    ///
    /// # Errors
    /// When the store does not answer. What is left is done in the next round.
    pub async fn round(&self, last: bool) -> Result<u64, StoreFault> {
        let now = self.clock.now();
        let until = now.plus_ms(i64::try_from(CLAIM.as_millis()).unwrap_or(i64::MAX));
        if !self.claims.claim(JOB, self.recorder.holder(), now, until).await? {
            return Ok(0);
        }
        for anchor in self.audit.open_anchors(Scope::system(WHY)).await? {
            self.put_on_record(&anchor).await?;
        }
        let mut total = 0;
        let fading_is_due = self.fading.is_due(now) || last;
        for fading in [false, true].into_iter().filter(|fading| !fading || fading_is_due) {
            for left in (0..ANCHORS_PER_ROUND_MAX).rev() {
                let anchor = Anchor { id: Uuid::now_v7(), made: self.clock.now(), fading };
                let events =
                    self.audit.anchor_events(Scope::system(WHY), anchor.clone(), ANCHOR_EVENTS_MAX).await?;
                if events == 0 {
                    break;
                }
                total += events;
                if fading && left == 0 {
                    // More than a round takes: the next one goes on, or the rest would grow for ever.
                    self.fading.go_on();
                }
                self.put_on_record(&anchor).await?;
            }
        }
        Ok(total)
    }

    /// Lets another process do it at once.
    pub async fn let_go(&self) {
        if let Err(fault) =
            self.claims.claim(JOB, self.recorder.holder(), self.clock.now(), Timestamp(0)).await
        {
            tracing::debug!(error = &fault as &dyn std::error::Error, "the audit anchors were not let go");
        }
    }

    /// A record more than one of the same anchor does no harm: each proves the same.
    async fn put_on_record(&self, anchor: &Anchor) -> Result<(), StoreFault> {
        let events = self.audit.anchored_events(Scope::system(WHY), anchor.id).await?;
        let draft = self.record_of(anchor, &events).draft(&self.live.load(), self.clock.now());
        let entry = Entry::of(draft);
        let written = match self.recorder.submit(entry, Durability::Strict) {
            Some(receipt) => receipt.durable().await.is_ok(),
            None => false,
        };
        if written {
            self.audit.close_anchor(Scope::system(WHY), anchor.id).await?;
        }
        Ok(())
    }

    fn record_of(&self, anchor: &Anchor, events: &[(Nid, AuditEvent)]) -> OwnRecord {
        let root = hex::encode(&root_of(events));
        let mut notes = vec![
            format!("{ANCHOR_NOTE}{}", anchor.id.simple()),
            format!("{EVENTS_NOTE}{}", events.len()),
            format!("{ROOT_NOTE}{root}"),
        ];
        if anchor.fading {
            notes.push(FADING_NOTE.to_owned());
        }
        OwnRecord {
            nid: Nid::SYSTEM,
            tenant_id: INSTALLATION.to_owned(),
            // One for each attempt: no two records of a chain have the same id.
            id: format!("{AUDIT}_{}", Uuid::now_v7().simple()),
            invocation_type: AUDIT,
            actor: ACTOR,
            action: "anchor",
            rule: "audit".to_owned(),
            reason: format!("{} events of the audit trail are on record", events.len()),
            notes,
        }
    }
}

/// The root of the tree over events, in order of their ids.
fn root_of(events: &[(Nid, AuditEvent)]) -> Hash {
    let mut tree = Frontier::default();
    for (nid, event) in events {
        // The nodes that a growing tree stores are of no use here.
        drop(tree.append(leaf_of(*nid, event)));
    }
    tree.root()
}

/// The leaf of an event: everything that its row says, as a JSON array.
fn leaf_of(nid: Nid, event: &AuditEvent) -> Hash {
    let digest = |digest: &Option<[u8; 32]>| digest.as_ref().map(|digest| hex::encode(digest));
    let row = json!([
        nid.to_string(),
        event.id.to_string(),
        event.at.0,
        event.action,
        event.object,
        event.actor,
        event.role,
        digest(&event.before_digest),
        digest(&event.after_digest),
        event.detail.as_str(),
        event.origin.as_str(),
    ]);
    leaf_hash(&[row.to_string().as_bytes()])
}

/// What an anchor's record says of it.
struct Told {
    anchor: Uuid,
    events: u64,
    root: Hash,
    fading: bool,
}

impl Told {
    fn of(stored: &StoredRecord) -> Option<Self> {
        let draft = parsed(stored)?.draft;
        let notes = &draft.gateway_annotations;
        let note = |name: &str| notes.iter().find_map(|note| note.strip_prefix(name));
        Some(Self {
            anchor: Uuid::parse_str(note(ANCHOR_NOTE)?).ok()?,
            events: note(EVENTS_NOTE)?.parse().ok()?,
            root: hex::decode_hash(note(ROOT_NOTE)?)?,
            fading: notes.iter().any(|note| note == FADING_NOTE),
        })
    }
}

/// What was found of the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchored {
    /// Anchors on record.
    pub anchors: u64,
    /// Events that they prove.
    pub events: u64,
    /// Events that have gone with time.
    pub forgotten: u64,
    /// Events that have no anchor yet.
    pub waiting: u64,
    /// What is wrong, if anything is: the first of it.
    pub fault: Option<AnchorFault>,
}

/// Events that are not what was anchored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorFault {
    /// The record of an anchor cannot be read.
    #[error("record {id} is to prove audit events and does not say which")]
    Unreadable {
        /// The record.
        id: String,
    },
    /// Events were changed, removed or added.
    #[error(
        "record {id} proves {told} audit events of {at}, and {found} are there: some were removed or added"
    )]
    Count {
        /// The record.
        id: String,
        /// When they were anchored.
        at: String,
        /// How many there were.
        told: u64,
        /// How many there are.
        found: u64,
    },
    /// As many as there were, and not the same.
    #[error("record {id} proves {told} audit events of {at}, and they are not what they were")]
    Changed {
        /// The record.
        id: String,
        /// When they were anchored.
        at: String,
        /// How many there were.
        told: u64,
    },
}

/// Compares the audit trails of all tenants with what the installation's chain says of them. Whether that chain is what
/// was written is for `audit verify` to say.
///
/// # Errors
/// When the store does not answer.
pub async fn check_anchors(
    audit: &dyn AnchorStore,
    evidence: &dyn EvidenceStore,
) -> Result<Anchored, StoreFault> {
    let mut found =
        Anchored { waiting: audit.unanchored_events(Scope::system(WHY)).await?, ..Anchored::default() };
    let scope = Scope::tenant(Nid::SYSTEM);
    let last = evidence.heads(vec![Nid::SYSTEM]).await?.remove(&Nid::SYSTEM).map_or(0, |head| head.seq);
    let mut first = 1;
    while first <= last && found.fault.is_none() {
        let rows = evidence.chain(scope.clone(), Nid::SYSTEM, first, last, CHAIN_PAGE).await?;
        let Some(newest) = rows.last() else { break };
        first = newest.seq + 1;
        for stored in rows.iter().filter(|stored| stored.columns.invocation_type == AUDIT) {
            found.check(audit, stored).await?;
        }
    }
    Ok(found)
}

impl Anchored {
    async fn check(&mut self, audit: &dyn AnchorStore, stored: &StoredRecord) -> Result<(), StoreFault> {
        let Some(told) = Told::of(stored) else {
            self.fault.get_or_insert(AnchorFault::Unreadable { id: stored.id.clone() });
            return Ok(());
        };
        let events = audit.anchored_events(Scope::system(WHY), told.anchor).await?;
        let count = events.len() as u64;
        self.anchors += 1;
        self.events += count;
        if told.fading && count < told.events {
            self.forgotten += told.events - count;
            return Ok(());
        }
        if root_of(&events) != told.root {
            let (id, at) = (stored.id.clone(), stored.at.rfc3339());
            self.fault.get_or_insert(if count == told.events {
                AnchorFault::Changed { id, at, told: count }
            } else {
                AnchorFault::Count { id, at, told: told.events, found: count }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_time_is_anchored_at_once_and_then_once_a_minute() {
        let pace = FadingPace::default();
        let due = |s: i64| pace.is_due(Timestamp(1_795_000_000_000 + s * 1_000));
        assert_eq!([0, 5, 59, 60, 65, 119, 120].map(due), [true, false, false, true, false, false, true]);
        pace.go_on();
        assert_eq!([125, 130].map(due), [true, false], "what a round has left is taken by the next one");
    }
}
