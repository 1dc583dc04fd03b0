//! Calls without a key in the migration window (seed 001, "Migration from Single-Tenant"): who still makes them.
//!
//! They are counted by address in memory and written a moment later. The first call of an address is on the audit trail, and
//! each has an evidence record that says `keyless`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use bh_domain::audit::KEYLESS_CALL;
use bh_domain::keys::key::JsonObject;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

use crate::audit::AuditTrail;
use crate::metrics::Metrics;
use crate::ports::{AuditEvent, Clock, KeylessCaller, KeylessStore, StoreFault};

/// Addresses that are told apart, of all tenants; further ones are counted together.
pub const ADDRESSES_MAX: usize = 1_024;
/// How all further addresses are named.
pub const OTHERS: &str = "other";
const WHY: &str = "calls without a key";

/// Counts calls without a key. Clones share the counts.
#[derive(Clone)]
pub struct KeylessCalls(Arc<Inner>);

struct Inner {
    store: Arc<dyn KeylessStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    trail: AuditTrail,
    counts: Mutex<Counts>,
}

type Whose = (Nid, Option<IpAddr>);

#[derive(Default)]
struct Counts {
    known: HashSet<Whose>,
    grown: HashMap<Whose, KeylessCaller>,
    /// What the trail is to say of those that are new.
    events: Vec<(Nid, AuditEvent)>,
}

impl std::fmt::Debug for KeylessCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeylessCalls").finish_non_exhaustive()
    }
}

impl KeylessCalls {
    /// Counts over a store. Somebody must call [`KeylessCalls::flush`] again and again.
    #[must_use]
    pub fn new(
        store: Arc<dyn KeylessStore>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        trail: AuditTrail,
    ) -> Self {
        Self(Arc::new(Inner { store, clock, metrics, trail, counts: Mutex::default() }))
    }

    /// Learns which addresses are known already. To be done before the first call.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn learn(&self) -> Result<(), StoreFault> {
        let known = self.0.store.keyless(Scope::system(WHY)).await?;
        let known = known.into_iter().map(|(nid, caller)| (nid, caller.address)).take(ADDRESSES_MAX);
        self.0.counts.lock().known.extend(known);
        Ok(())
    }

    /// A call was let in without a key. Never waits.
    pub fn note(&self, nid: Nid, address: IpAddr) {
        self.0.metrics.keyless_calls.inc();
        let now = self.0.clock.now();
        let mut counts = self.0.counts.lock();
        let own = (nid, Some(address));
        let told_apart = counts.known.contains(&own) || counts.known.len() < ADDRESSES_MAX;
        let whose = if told_apart { own } else { (nid, None) };
        let is_first = counts.known.insert(whose);
        counts.add(whose, &KeylessCaller { address: whose.1, calls: 1, first: now, last: now });
        if is_first {
            counts.events.push((nid, event(whose.1, now)));
        }
    }

    /// Writes what has been counted since. What cannot be written now waits for the next time.
    pub async fn flush(&self) {
        let (grown, events) = {
            let mut counts = self.0.counts.lock();
            (std::mem::take(&mut counts.grown), std::mem::take(&mut counts.events))
        };
        if grown.is_empty() {
            return;
        }
        // In one order everywhere: replicas that write at once wait for each other and not in a circle.
        let mut rows: Vec<(Nid, KeylessCaller)> =
            grown.into_iter().map(|((nid, _), caller)| (nid, caller)).collect();
        rows.sort_unstable_by_key(|(nid, caller)| (*nid, caller.address));
        // The events first: an address that is counted is on the trail.
        let written = match self.0.trail.append_all(events.clone()).await {
            Ok(()) => self.0.store.add_keyless(Scope::system(WHY), rows.clone()).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = written {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "calls without a key were not counted yet"
            );
            let mut counts = self.0.counts.lock();
            counts.events.extend(events);
            rows.iter().for_each(|(nid, caller)| counts.add((*nid, caller.address), caller));
        }
    }

    /// A tenant's callers without a key, those with the most calls first. What is counted here and not written yet counts.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn of(&self, nid: Nid) -> Result<Vec<KeylessCaller>, StoreFault> {
        self.flush().await;
        let stored = self.0.store.keyless(Scope::tenant(nid)).await?;
        let mut callers: Vec<KeylessCaller> = stored.into_iter().map(|(_, caller)| caller).collect();
        callers.sort_unstable_by_key(|caller| (std::cmp::Reverse(caller.calls), caller.address));
        Ok(callers)
    }
}

impl Counts {
    fn add(&mut self, whose: Whose, more: &KeylessCaller) {
        match self.grown.get_mut(&whose) {
            Some(caller) => {
                caller.calls += more.calls;
                caller.first = caller.first.min(more.first);
                caller.last = caller.last.max(more.last);
            }
            None => drop(self.grown.insert(whose, more.clone())),
        }
    }
}

/// What the trail says of an address that calls without a key for the first time.
fn event(address: Option<IpAddr>, now: Timestamp) -> AuditEvent {
    let object = address.map_or_else(|| OTHERS.to_owned(), |address| address.to_string());
    let detail = json!({ "keyless": true, "client_address": object });
    AuditEvent {
        id: Uuid::now_v7(),
        at: now,
        action: KEYLESS_CALL.to_owned(),
        object,
        actor: "keyless".to_owned(),
        role: "client".to_owned(),
        before_digest: None,
        after_digest: None,
        detail: JsonObject::parse(detail.to_string()).unwrap_or_default(),
        origin: JsonObject::default(),
        told: None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn further_addresses_are_counted_together_and_no_call_is_lost() {
        let mut counts = Counts::default();
        let caller = |n: u32| KeylessCaller {
            address: Some(Ipv4Addr::from(n).into()),
            calls: 2,
            first: Timestamp(i64::from(n)),
            last: Timestamp(i64::from(n)),
        };
        for n in [3, 1, 2] {
            counts.add((Nid::SYSTEM, None), &KeylessCaller { address: None, ..caller(n) });
            counts.add((Nid::SYSTEM, caller(n).address), &caller(n));
        }
        let others = &counts.grown[&(Nid::SYSTEM, None)];
        assert_eq!((others.calls, others.first, others.last), (6, Timestamp(1), Timestamp(3)));
        assert_eq!(counts.grown.len(), 4);
    }
}
