//! What a use of a key takes from its limits: from all that hold for it, or from none.

use std::convert::Infallible;
use std::sync::Arc;

use bh_domain::allowance::AllowanceVerdict;
use bh_domain::keys::key::KeyId;
use bh_domain::keys::named::NamedLimit;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::limit::RateLimit;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::KeyStory;
use super::rows::{Row, RowKey, RowRef};
use super::verdict::{Denied, Subject, Verdict};
use super::verify::Needs;
use crate::rates::{NamedCount, RateCell};
use crate::snapshot::Tenant;

/// Keys whose rate is counted, and named limits; those that are used least go first, and start anew.
const COUNTED_MAX: usize = 262_144;

/// A named limit that a use of a key takes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit.
    pub name: String,
    /// How much, in the limit's unit; `None` for one, or of money none. With 0 it is only asked.
    pub cost: Option<NanoUsd>,
}

/// What a named limit said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitTold {
    /// The limit.
    pub limit: NamedLimit,
    /// What it said.
    pub verdict: AllowanceVerdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NamedKey(Nid, Box<str>, Box<str>);

/// A [`NamedKey`] to look one up by: a look-up allocates nothing.
#[derive(Clone, Copy, Debug, Hash)]
struct NamedRef<'a>(Nid, &'a str, &'a str);

impl Equivalent<NamedKey> for NamedRef<'_> {
    fn equivalent(&self, key: &NamedKey) -> bool {
        self.0 == key.0 && *self.1 == *key.1 && *self.2 == *key.2
    }
}

/// Counts of keys that have limits.
pub(super) struct KeyLimits {
    own: Cache<RowKey, Arc<RateCell>>,
    named: Cache<NamedKey, Arc<RateCell>>,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self { own: Cache::new(COUNTED_MAX), named: Cache::new(COUNTED_MAX) }
    }
}

impl KeyLimits {
    pub(super) fn cell(&self, nid: Nid, key_id: &KeyId) -> Arc<RateCell> {
        if let Some(cell) = self.own.get(&RowRef(nid, key_id.as_str())) {
            return cell;
        }
        let place = RowKey(nid, key_id.clone());
        let new = || Ok::<_, Infallible>(Arc::new(RateCell::new(nid, key_id.as_str())));
        self.own.get_or_insert_with(&place, new).unwrap_or_else(|never| match never {})
    }

    fn named(&self, nid: Nid, key_id: &str, name: &str) -> Arc<RateCell> {
        if let Some(cell) = self.named.get(&NamedRef(nid, key_id, name)) {
            return cell;
        }
        let place = NamedKey(nid, key_id.into(), name.into());
        let new = || Ok::<_, Infallible>(Arc::new(RateCell::new(nid, name)));
        self.named.get_or_insert_with(&place, new).unwrap_or_else(|never| match never {})
    }
}

/// A count, and how much is wanted of it.
type Wanted = (NamedCount, u64);

impl KeyStory {
    /// The counts of a key's named limits.
    pub(crate) fn named_of(&self, tenant: &Tenant, row: &Row) -> Vec<NamedCount> {
        let limits = row.extras.as_ref().map_or(&[][..], |extras| &extras.rate_limits);
        let count = |limit: &NamedLimit| {
            let cell = self.0.limits.named(tenant.nid, row.key.key_id.as_str(), &limit.name);
            NamedCount::new(limit.clone(), cell)
        };
        limits.iter().filter_map(count).collect()
    }

    /// Counts a use of a good key, which its limits and its credits may refuse: then none of them is touched.
    pub(super) async fn counted(&self, tenant: &Tenant, mut verdict: Verdict, needs: Needs<'_>) -> Verdict {
        let (row, own) = match (&verdict.subject, &verdict.parent) {
            (Some(Subject::Key(row)), _) => (Arc::clone(row), true),
            (Some(Subject::Token(_)), Some(row)) => (Arc::clone(row), false),
            (Some(Subject::Token(_)) | None, _) => return verdict,
        };
        self.note_use(tenant, &row);
        let now_ns = self.0.parts.clock.monotonic_ns();
        let limit = row.key.rate_limit.filter(|_| own && tenant.keys.rate_limit_enabled);
        let limit = limit.and_then(|limit| RateLimit::new(limit.quota, limit.window_s));
        let own_count = limit.map(|limit| (limit, self.0.limits.cell(tenant.nid, &row.key.key_id)));
        let wanted = wanted(self.named_of(tenant, &row), needs);
        verdict.rate = own_count.as_ref().map(|(limit, cell)| cell.take(*limit, now_ns));
        if verdict.rate.is_some_and(|rate| !rate.allowed) {
            verdict.limits = ask(&wanted, now_ns);
            verdict.denied = Some(Denied::because(VerificationError::RateLimited));
            return verdict;
        }
        let (told, refused) = take(&wanted, now_ns);
        verdict.limits = told;
        if let Some(name) = refused {
            let message = format!("the API key's rate limit `{name}` is used up");
            verdict.denied = Some(Denied::saying(VerificationError::RateLimited, message));
        } else {
            self.paid(tenant.nid, &row, own, &mut verdict, needs).await;
            if verdict.denied.is_some() {
                wanted.iter().for_each(|(count, amount)| count.put_back(*amount));
                verdict.limits = ask(&wanted, now_ns);
            }
        }
        if let (Some((limit, cell)), Some(rate), true) =
            (own_count, &mut verdict.rate, verdict.denied.is_some())
        {
            cell.put_back(limit);
            rate.remaining = (rate.remaining + 1).min(rate.limit);
            rate.reset_after_ns = rate.reset_after_ns.saturating_sub(limit.increment_ns());
        }
        verdict
    }

    /// Takes the credits of a use, where the key has some.
    async fn paid(&self, nid: Nid, row: &Arc<Row>, own: bool, verdict: &mut Verdict, needs: Needs<'_>) {
        let cost = needs.credits.or(own.then_some(1));
        let Some(cost) = cost.filter(|_| row.key.credits.is_some()) else { return };
        match self.spend(nid, row, cost).await {
            Ok(told) => {
                verdict.credits = told;
                if told.is_some_and(|told| told.exceeded) {
                    let message = "the API key's credits are used up";
                    verdict.denied = Some(Denied::saying(VerificationError::RateLimited, message));
                }
            }
            Err(denied) => {
                verdict.subject = None;
                verdict.denied = Some(denied);
            }
        }
    }
}

/// The limits that hold for a use: those that it names, and those that apply by themselves.
fn wanted(counts: Vec<NamedCount>, needs: Needs<'_>) -> Vec<Wanted> {
    let amount = |count: &NamedCount| {
        let NamedLimit { name, unit, auto_apply, .. } = &count.limit;
        match needs.limits.iter().find(|named| *named.name == **name) {
            Some(named) => Some(unit.amount(named.cost)),
            // A verification knows of no call: tokens and money are charged by those who make calls.
            None if *auto_apply => Some(unit.amount_of_use()),
            None => None,
        }
    };
    counts.into_iter().filter_map(|count| amount(&count).map(|amount| (count, amount))).collect()
}

/// What limits say, and nothing is taken.
fn ask(wanted: &[Wanted], now_ns: u64) -> Vec<LimitTold> {
    wanted.iter().map(|(count, _)| told(count, count.take(0, now_ns))).collect()
}

/// Takes from all limits or from none; the name of the first that refused.
fn take(wanted: &[Wanted], now_ns: u64) -> (Vec<LimitTold>, Option<Box<str>>) {
    let mut said: Vec<LimitTold> =
        wanted.iter().map(|(count, amount)| told(count, count.take(*amount, now_ns))).collect();
    let refused = said.iter().find(|told| !told.verdict.allowed).map(|told| told.limit.name.clone());
    if refused.is_some() {
        let taken = || said.iter().zip(wanted).filter(|(told, _)| told.verdict.allowed);
        taken().for_each(|(_, (count, amount))| count.put_back(*amount));
        for (told, (count, _)) in said.iter_mut().zip(wanted) {
            if told.verdict.allowed {
                told.verdict = AllowanceVerdict { allowed: true, ..count.take(0, now_ns) };
            }
        }
    }
    (said, refused)
}

fn told(count: &NamedCount, verdict: AllowanceVerdict) -> LimitTold {
    LimitTold { limit: count.limit.clone(), verdict }
}
