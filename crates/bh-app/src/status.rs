//! How a tenant is doing today, in one answer (`/v1/status`, Talon dossier section 2.4).

use std::fmt;
use std::sync::Arc;

use bh_domain::money::NanoUsd;
use schemars::JsonSchema;
use serde::Serialize;

use crate::costs::{settled, this_month, today, windows};
use crate::evidence::Reach;
use crate::ports::{Clock, Store, StoreFault};
use crate::recorder::Recorder;
use crate::snapshot::Live;

/// Reads the status.
#[derive(Clone)]
pub struct StatusReads {
    store: Arc<dyn Store>,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    live: Live,
}

impl fmt::Debug for StatusReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusReads").finish_non_exhaustive()
    }
}

/// Whether evidence can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "EvidenceHealth")]
pub enum Health {
    /// It can.
    Ok,
    /// It cannot: calls are refused, or go on without a record.
    Degraded,
}

/// A tenant's day so far. Over every tenant, the day is UTC's.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Status {
    /// Whether evidence can be written.
    pub status: Health,
    /// Tenant, or `*`.
    pub tenant_id: String,
    /// Records since the day began.
    pub evidence_count_today: u64,
    /// Settled today, in `currency`.
    pub cost_today: NanoUsd,
    /// Settled this month, in `currency`.
    pub monthly: NanoUsd,
    /// ISO 4217 code.
    pub currency: String,
    /// Calls today that reached a provider.
    pub calls_today: u64,
    /// Records since the day began of calls that were not allowed.
    pub blocked_count: u64,
    /// Part of today's calls that failed, from 0 to 1.
    pub error_rate: f64,
    /// Agent runs under way: there is no agent runtime yet.
    pub active_runs: u64,
    /// Memory entries that wait for a review: there is no memory yet.
    pub pending_memory_reviews: u64,
    /// What a denial does: calls are stopped, not only noted.
    pub enforcement_mode: &'static str,
    /// Whether evidence can be written.
    pub evidence_ok: bool,
    /// Since when the figures of today count, RFC 3339.
    pub day_started_at: String,
}

impl StatusReads {
    /// Stories over `store`, with the writer's health from `recorder`.
    pub fn new(store: Arc<dyn Store>, recorder: Recorder, clock: Arc<dyn Clock>, live: Live) -> Self {
        Self { store, recorder, clock, live }
    }

    /// The status of what is in reach.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn status(&self, reach: &Reach) -> Result<Status, StoreFault> {
        let snapshot = self.live.load_full();
        let windows = windows(&snapshot, reach, self.clock.now());
        let store = self.store.as_ref();
        let day = settled(store, reach, today(&windows, None)).await?;
        let month = settled(store, reach, this_month(&windows, None)).await?;
        let (records, denied) = match reach.scope() {
            Some(scope) => store.counts_since(scope, reach.nid(), windows.day_start).await?,
            None => (0, 0),
        };
        let evidence_ok = self.recorder.healthy();
        Ok(Status {
            status: if evidence_ok { Health::Ok } else { Health::Degraded },
            tenant_id: reach.tenant_id().to_owned(),
            evidence_count_today: records,
            cost_today: day.cost,
            monthly: month.cost,
            currency: snapshot.currency.clone(),
            calls_today: day.calls,
            blocked_count: denied,
            error_rate: rate(day.failed, day.calls),
            active_runs: 0,
            pending_memory_reviews: 0,
            enforcement_mode: "enforce",
            evidence_ok,
            day_started_at: windows.day_start.rfc3339(),
        })
    }
}

/// A part of a whole, to four digits; 0 of nothing.
fn rate(part: u64, whole: u64) -> f64 {
    const STEPS: u64 = 10_000;
    let steps = part.saturating_mul(STEPS).checked_div(whole).unwrap_or(0).min(STEPS);
    // At most 10,000: exact in a double.
    u32::try_from(steps).map_or(0.0, f64::from) / 10_000.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bh_domain::budget::Owner;
    use bh_domain::evidence::Record;
    use bh_domain::money::NanoUsd;
    use serde_json::json;

    use super::{StatusReads, rate};
    use crate::evidence::Reach;
    use crate::evidence::tests::house::{ACME, House, acme, draft};
    use crate::ports::{Clock, SpendDelta, Store};
    use crate::recorder::Entry;
    use crate::snapshot::Durability;

    #[test]
    fn a_rate_is_a_part_from_0_to_1() {
        assert_eq!(
            [rate(0, 0), rate(0, 5), rate(1, 3), rate(5, 5), rate(9, 5)],
            [0.0, 0.0, 0.3333, 1.0, 1.0]
        );
    }

    fn reads(house: &House) -> StatusReads {
        let store = Arc::clone(&house.store) as Arc<dyn Store>;
        let clock = Arc::clone(&house.clock) as Arc<dyn Clock>;
        StatusReads::new(store, house.recorder.clone(), clock, Arc::clone(&house.live))
    }

    /// Puts a decision on the record together with what it cost, as a call does.
    fn decide(house: &House, number: u32) {
        let draft = draft("acme", ACME, number);
        let (owner, cost) = (Owner::Caller(draft.agent_id.to_string()), draft.execution.cost);
        let allowed = u64::from(draft.policy_decision.allowed);
        let window = "2026-11-21".to_owned();
        let (nid, tokens, failed) = (ACME, Default::default(), u64::from(number == 1));
        let spend = vec![SpendDelta {
            nid,
            owner,
            window,
            calls: allowed,
            denied: 1 - allowed,
            failed,
            tokens,
            cost,
        }];
        drop(house.recorder.submit(Entry { spend, ..Entry::of(draft) }, Durability::Strict));
    }

    #[tokio::test]
    async fn the_sums_equal_those_over_the_evidence() {
        let house = House::with(0).await;
        (1..=7).for_each(|number| decide(&house, number));
        house.written().await;
        let records = house.store.rows.lock().records.clone();
        let own = records.iter().filter(|row| row.row.nid == ACME).filter_map(|row| row.record.as_deref());
        let cost = |text: &str| serde_json::from_str::<Record>(text).unwrap().draft.execution.cost;
        let total: NanoUsd = own.map(cost).sum();
        let expected = json!({
            "status": "ok", "tenant_id": "acme", "evidence_count_today": 7, "cost_today": total, "monthly": total,
            "currency": "USD", "calls_today": 5, "blocked_count": 2, "error_rate": 0.2, "active_runs": 0,
            "pending_memory_reviews": 0, "enforcement_mode": "enforce", "evidence_ok": true,
            "day_started_at": "2026-11-21T00:00:00.000Z",
        });
        let status = reads(&house).status(&acme()).await.unwrap();
        assert_eq!(serde_json::to_value(status).unwrap(), expected);
    }

    #[tokio::test]
    async fn an_unwritable_store_is_a_degraded_status_and_an_unknown_tenant_an_empty_one() {
        let house = House::with(2).await;
        house.recorder.set_healthy(false);
        let nobody = Reach::Nobody { asked: "x".to_owned() };
        let status = serde_json::to_value(reads(&house).status(&nobody).await.unwrap()).unwrap();
        let told = [
            &status["status"],
            &status["evidence_ok"],
            &status["evidence_count_today"],
            &status["cost_today"],
        ];
        assert_eq!(told, [&json!("degraded"), &json!(false), &json!(0), &json!("0")]);
    }
}
