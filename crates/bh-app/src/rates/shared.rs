//! Limits of tenants that all replicas count together, and what holds while that cannot be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bh_domain::limit::RateVerdict;
use bh_domain::refusal::{Code, Refusal};

use super::requests::{Counted, Held, hold, tenants_of, tighter, too_many};
use crate::metrics::Metrics;
use crate::ports::{Clock, SharedCounts, SharedFault, SharedLimit};
use crate::snapshot::{Caller, Limited, Tenant};

/// So many faults in a row, and the shared counts are left alone for a while.
const FAULTS_MAX: u32 = 3;
/// How long they are; then one request tries them again.
const REST_NS: u64 = 1_000_000_000;
/// When a request may come back that could not be counted, in seconds: when the counts are tried again.
const RETRY_AFTER_S: u64 = 1;
/// Where any instant will do: what comes of limits depends on differences.
const BASE_NS: u64 = 1;

/// What holds while shared counts do not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutage {
    /// Each replica counts for itself, against its part of the limit.
    #[default]
    Share,
    /// No limit of a tenant.
    Open,
    /// No request.
    Closed,
}

/// How counts are named.
#[derive(Clone, Debug)]
pub struct SharedNames {
    /// The first part of every name.
    pub prefix: String,
    /// Whether the tenant comes next, so that each has a namespace of its own (seed 001, `separateRedisNamespace`).
    pub tenant_first: bool,
}

impl SharedNames {
    fn of(&self, tenant: &Tenant, limited: &Limited) -> String {
        let (prefix, tenant, period_s) =
            (&self.prefix, &tenant.id, limited.limit.period_ns() / 1_000_000_000);
        let window = match period_s {
            60 => "minute",
            3_600 => "hour",
            _ => "day",
        };
        match self.tenant_first {
            true => format!("{prefix}:{tenant}:rate:{window}"),
            false => format!("{prefix}:rate:{tenant}:{window}"),
        }
    }
}

/// Limits of tenants, counted together with all replicas.
pub struct SharedRates {
    counts: Arc<dyn SharedCounts>,
    names: SharedNames,
    on_outage: OnOutage,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Replicas that share the limits while they cannot be counted together.
    replicas: AtomicU32,
    faults: AtomicU32,
    /// Until when the counts rest, on the monotonic clock; 0 = they do not.
    rests_until_ns: AtomicU64,
    told: AtomicBool,
}

impl std::fmt::Debug for SharedRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedRates").field("names", &self.names).finish_non_exhaustive()
    }
}

impl SharedRates {
    /// Limits that are counted there.
    #[must_use]
    pub fn new(
        counts: Arc<dyn SharedCounts>,
        names: SharedNames,
        on_outage: OnOutage,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            counts,
            names,
            on_outage,
            clock,
            metrics,
            replicas: AtomicU32::new(1),
            faults: AtomicU32::new(0),
            rests_until_ns: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// Says how many replicas there are, this one included.
    pub fn shared_by(&self, replicas: u64) {
        self.replicas.store(u32::try_from(replicas).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
    }

    /// As [`super::count`], the tenant's limits counted together with all replicas.
    ///
    /// # Errors
    /// `rate_limited`; `rate_limit_unavailable` where a request that cannot be counted is not let in.
    pub async fn count(&self, asked: Counted<'_>, caller: &Caller) -> Result<Option<RateVerdict>, Refusal> {
        let (limits, now_ns) = (tenants_of(asked, caller), self.clock.monotonic_ns());
        if limits.is_empty() {
            return super::count(asked, caller, now_ns);
        }
        if !self.may_ask(now_ns) {
            return self.without(asked, caller);
        }
        let held = hold(asked, caller, std::iter::empty(), now_ns)?;
        let wanted = |limited: &Limited| SharedLimit {
            name: self.names.of(&caller.tenant, limited),
            limit: limited.limit,
            own_ns: limited.cell.noted(limited.limit, now_ns),
        };
        let backlogs = match self.counts.take(limits.iter().map(wanted).collect()).await {
            Ok(backlogs) => backlogs,
            Err(fault) => {
                self.failed(&fault);
                held.put_back_after(self.since(now_ns));
                return self.without(asked, caller);
            }
        };
        self.answered();
        self.decided(&held, limits, &backlogs, now_ns)
    }

    /// What the limits said, which were whole again after `backlogs`.
    fn decided(
        &self,
        held: &Held<'_>,
        limits: &[Limited],
        backlogs: &[u64],
        now_ns: u64,
    ) -> Result<Option<RateVerdict>, Refusal> {
        let mut tightest = held.tightest;
        for (limited, backlog) in limits.iter().zip(backlogs) {
            let (verdict, _) = limited.limit.decide(BASE_NS.saturating_add(*backlog), BASE_NS);
            if !verdict.allowed {
                held.put_back_after(self.since(now_ns));
                return Err(too_many("tenant", verdict));
            }
            tightest = tighter(tightest, verdict);
        }
        // What this replica let in is its part already, should the counts be lost.
        let (replicas, now_ns) = (self.replicas.load(Ordering::Relaxed), self.clock.monotonic_ns());
        for Limited { limit, cell } in limits {
            cell.take(limit.shared_by(replicas), now_ns);
            cell.note(*limit, now_ns);
        }
        Ok(tightest)
    }

    /// Counts a request while the shared counts do not answer.
    fn without(&self, asked: Counted<'_>, caller: &Caller) -> Result<Option<RateVerdict>, Refusal> {
        let limits = match self.on_outage {
            OnOutage::Share => tenants_of(asked, caller),
            OnOutage::Open => &[],
            OnOutage::Closed => {
                let message = "Requests cannot be counted right now; try again";
                return Err(Refusal::new(Code::LimitsUnavailable, message).retry_after(RETRY_AFTER_S));
            }
        };
        let replicas = self.replicas.load(Ordering::Relaxed);
        let parts =
            limits.iter().map(|Limited { limit, cell }| ("tenant", limit.shared_by(replicas), &**cell));
        let now_ns = self.clock.monotonic_ns();
        let held = hold(asked, caller, parts, now_ns)?;
        limits.iter().for_each(|Limited { limit, cell }| cell.note(*limit, now_ns));
        Ok(held.tightest)
    }

    /// Whether the counts do not rest. When their rest is over, one request finds out whether they answer again.
    fn may_ask(&self, now_ns: u64) -> bool {
        let until = self.rests_until_ns.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let next = now_ns.saturating_add(REST_NS);
        let swap = || self.rests_until_ns.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        now_ns >= until && swap().is_ok()
    }

    fn since(&self, earlier_ns: u64) -> u64 {
        self.clock.monotonic_ns().saturating_sub(earlier_ns)
    }

    fn answered(&self) {
        if self.faults.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.faults.store(0, Ordering::Relaxed);
        self.rests_until_ns.store(0, Ordering::Relaxed);
        if self.told.swap(false, Ordering::Relaxed) {
            self.metrics.rate_limit_store_up.set(1);
            tracing::info!("the shared counts of requests answer again");
        }
    }

    fn failed(&self, fault: &SharedFault) {
        self.metrics.rate_limit_store_faults.inc();
        if self.faults.fetch_add(1, Ordering::Relaxed).saturating_add(1) < FAULTS_MAX {
            return;
        }
        let until = self.clock.monotonic_ns().saturating_add(REST_NS);
        self.rests_until_ns.store(until, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            self.metrics.rate_limit_store_up.set(0);
            let (error, on_outage) = (fault as &dyn std::error::Error, self.on_outage);
            tracing::warn!(error, ?on_outage, "the shared counts of requests do not answer");
        }
    }
}
