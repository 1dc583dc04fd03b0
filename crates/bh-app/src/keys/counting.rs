//! What a use of a key takes from its limits: from all that hold for it, or from none.

use std::convert::Infallible;
use std::sync::Arc;

use bh_domain::allowance::AllowanceVerdict;
use bh_domain::keys::key::{KeyId, KeyRateLimit};
use bh_domain::keys::named::{Amount, LimitUnit, NamedLimit};
use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::Nid;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::KeyStory;
use super::identities::IdentityRow;
use super::rows::Row;
use super::verdict::{Denied, Subject, Verdict};
use super::verify::{Needs, Question};
use crate::rates::{NamedCount, RateCell};
use crate::snapshot::{Limited, Tenant};

/// Limits of keys that are counted; those that are used least go first, and start anew.
const COUNTED_MAX: usize = 524_288;

/// A named limit that a use of a key takes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit.
    pub name: String,
    /// How much, in the limit's unit; `None` for one, or of money none. With 0 it is only asked.
    pub cost: Option<Amount>,
}

/// What a named limit said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitTold {
    /// The limit.
    pub limit: NamedLimit,
    /// What it said.
    pub verdict: AllowanceVerdict,
}

/// What a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rule {
    unit: LimitUnit,
    quota: u64,
    window_s: u64,
}

/// A limit of a key as it is now: one that is changed begins anew, and nothing is owed of what the old one counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CountKey {
    nid: Nid,
    /// The key's id, or what stands for its identity.
    whose: Box<str>,
    /// Empty for the one limit that Talos knows.
    name: Box<str>,
    rule: Rule,
}

/// A [`CountKey`] to look one up by: a look-up allocates nothing.
#[derive(Clone, Copy, Debug, Hash)]
struct CountRef<'a> {
    nid: Nid,
    whose: &'a str,
    name: &'a str,
    rule: Rule,
}

impl Equivalent<CountKey> for CountRef<'_> {
    fn equivalent(&self, key: &CountKey) -> bool {
        let CountKey { nid, whose, name, rule } = key;
        self.nid == *nid && *self.whose == **whose && *self.name == **name && self.rule == *rule
    }
}

/// Counts of keys that have limits.
pub(super) struct KeyLimits(Cache<CountKey, Arc<RateCell>>);

impl Default for KeyLimits {
    fn default() -> Self {
        Self(Cache::new(COUNTED_MAX))
    }
}

impl KeyLimits {
    /// The count of a key's one limit.
    pub(super) fn own(&self, nid: Nid, key_id: &KeyId, limit: KeyRateLimit) -> Arc<RateCell> {
        let KeyRateLimit { quota, window_s } = limit;
        let rule = Rule { unit: LimitUnit::Requests, quota, window_s };
        self.cell(CountRef { nid, whose: key_id.as_str(), name: "", rule })
    }

    /// The count of a named limit of a key or an identity.
    fn named(&self, nid: Nid, whose: &str, limit: &NamedLimit) -> Arc<RateCell> {
        let NamedLimit { name, quota, window_s, unit, auto_apply: _ } = limit;
        let rule = Rule { unit: *unit, quota: *quota, window_s: *window_s };
        self.cell(CountRef { nid, whose, name, rule })
    }

    fn cell(&self, count: CountRef<'_>) -> Arc<RateCell> {
        if let Some(cell) = self.0.get(&count) {
            return cell;
        }
        let CountRef { nid, whose, name, rule } = count;
        let place = CountKey { nid, whose: whose.into(), name: name.into(), rule };
        let new = || Ok::<_, Infallible>(Arc::new(RateCell::new(nid, name)));
        self.0.get_or_insert_with(&place, new).unwrap_or_else(|never| match never {})
    }
}

/// A count, and how much is wanted of it.
type Wanted = (NamedCount, u64);

impl KeyStory {
    /// The counts of those of a key's named limits that concern calls, its identity's among them.
    pub(crate) fn named_of(
        &self,
        tenant: &Tenant,
        row: &Row,
        identity: Option<&IdentityRow>,
    ) -> Vec<NamedCount> {
        let limits = limits_of(row, identity).filter(|(limit, _)| limit.concerns_calls());
        limits.filter_map(|(limit, whose)| self.count_of(tenant.nid, whose, limit)).collect()
    }

    fn count_of(&self, nid: Nid, whose: &str, limit: &NamedLimit) -> Option<NamedCount> {
        NamedCount::new(limit.clone(), self.0.limits.named(nid, whose, limit))
    }

    /// The limits that hold for a use: those that it names, and those that apply by themselves.
    fn wanted(&self, nid: Nid, row: &Row, identity: Option<&IdentityRow>, needs: Needs<'_>) -> Vec<Wanted> {
        let wanted = |(limit, whose)| {
            let amount = amount(limit, needs)?;
            Some((self.count_of(nid, whose, limit)?, amount))
        };
        limits_of(row, identity).filter_map(wanted).collect()
    }

    /// Counts a use of a good key, which its limits and its credits may refuse: then none of them is touched.
    pub(super) async fn counted(
        &self,
        tenant: &Tenant,
        mut verdict: Verdict,
        question: &Question<'_>,
    ) -> Verdict {
        let (row, own) = match (&verdict.subject, &verdict.parent) {
            (Some(Subject::Key(row)), _) => (Arc::clone(row), true),
            (Some(Subject::Token(_)), Some(row)) => (Arc::clone(row), false),
            (Some(Subject::Token(_)) | None, _) => return verdict,
        };
        self.note_use(tenant, &row);
        let now_ns = self.monotonic_ns();
        let own_count = self.limit_of(tenant, &row).filter(|_| own);
        let wanted = self.wanted(tenant.nid, &row, verdict.identity.as_deref(), question.needs);
        verdict.rate = own_count.as_ref().map(|Limited { limit, cell }| cell.take(*limit, now_ns));
        if verdict.rate.is_some_and(|rate| !rate.allowed) {
            verdict.limits = ask(&wanted, now_ns);
            verdict.denied = Some(Denied::because(VerificationError::RateLimited));
            return verdict;
        }
        let (told, refused) = take(&wanted, now_ns);
        verdict.limits = told;
        match refused {
            Some(message) => verdict.denied = Some(Denied::saying(VerificationError::RateLimited, message)),
            None => self.paid(tenant, &row, own, &mut verdict, question).await,
        }
        if verdict.denied.is_some() {
            let elapsed_ns = self.monotonic_ns().saturating_sub(now_ns);
            if !verdict.limits.iter().any(|told| !told.verdict.allowed) {
                put_back(&wanted, &verdict.limits, elapsed_ns);
                verdict.limits = ask(&wanted, now_ns.saturating_add(elapsed_ns));
            }
            if let (Some(Limited { limit, cell }), Some(rate)) = (own_count, &mut verdict.rate) {
                cell.put_back_later(limit, rate, elapsed_ns);
                rate.remaining = (rate.remaining + 1).min(rate.limit);
                rate.reset_after_ns = rate.reset_after_ns.saturating_sub(limit.increment_ns());
            }
        }
        verdict
    }

    /// Takes the credits of a use, where the key has some.
    async fn paid(
        &self,
        tenant: &Tenant,
        row: &Arc<Row>,
        own: bool,
        verdict: &mut Verdict,
        question: &Question<'_>,
    ) {
        let cost = question.needs.credits.or(own.then_some(1));
        let Some(cost) = cost.filter(|_| row.key.credits.is_some()) else { return };
        match self.spend(tenant, row, cost, question.freshness).await {
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

/// A key's named limits, and those that it shares with all keys of its identity, each with whose count it is. Its own
/// wins over a shared one of the same name.
fn limits_of<'a>(
    row: &'a Row,
    identity: Option<&'a IdentityRow>,
) -> impl Iterator<Item = (&'a NamedLimit, &'a str)> {
    let own = row.named_limits();
    let shared = identity.into_iter().flat_map(move |identity| {
        let limits = identity.identity.rate_limits.iter();
        let limits = limits.filter(|shared| own.iter().all(|own| own.name != shared.name));
        limits.map(|limit| (limit, identity.counted_as()))
    });
    own.iter().map(|limit| (limit, row.key.key_id.as_str())).chain(shared)
}

/// How much a use takes of a limit; `None` when the limit does not hold for it.
fn amount(limit: &NamedLimit, needs: Needs<'_>) -> Option<u64> {
    match needs.limits.iter().find(|named| *named.name == *limit.name) {
        Some(named) => Some(limit.unit.amount(named.cost)),
        // A verification knows of no call: tokens and money are charged by those who make calls.
        None => limit.auto_apply.then(|| limit.unit.amount_of_use()),
    }
}

/// What limits say, and nothing is taken.
fn ask(wanted: &[Wanted], now_ns: u64) -> Vec<LimitTold> {
    wanted.iter().map(|(count, _)| told(count, count.take(0, now_ns))).collect()
}

/// Takes from all limits or from none; what is to be said of the first that refused.
fn take(wanted: &[Wanted], now_ns: u64) -> (Vec<LimitTold>, Option<String>) {
    let mut said: Vec<LimitTold> =
        wanted.iter().map(|(count, amount)| told(count, count.take(*amount, now_ns))).collect();
    let refused = said.iter().find(|told| !told.verdict.allowed).map(refusal);
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

fn refusal(LimitTold { limit, verdict }: &LimitTold) -> String {
    match verdict.retry_after_ns {
        Some(_) => format!("the API key's rate limit `{}` is used up", limit.name),
        None => {
            let quota = limit.unit.text(limit.quota);
            format!("more than the API key's rate limit `{}` ever has, which is {quota}", limit.name)
        }
    }
}

/// Puts back, some time later, what was taken from all limits.
fn put_back(wanted: &[Wanted], taken: &[LimitTold], elapsed_ns: u64) {
    for ((count, amount), told) in wanted.iter().zip(taken) {
        count.put_back_later(*amount, &told.verdict, elapsed_ns);
    }
}

fn told(count: &NamedCount, verdict: AllowanceVerdict) -> LimitTold {
    LimitTold { limit: count.limit.clone(), verdict }
}
