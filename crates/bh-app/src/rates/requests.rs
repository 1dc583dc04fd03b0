//! What a request counts against, and the answer: let in by all of it, or counted by none.

use bh_domain::limit::{RateLimit, RateVerdict};
use bh_domain::refusal::{Code, Refusal};

use super::{RateCell, named};
use crate::snapshot::{Caller, Limited, Snapshot};

/// What is asked for, as far as limits differ.
#[derive(Clone, Copy, Debug)]
pub enum Counted<'s> {
    /// A call of a model: the key's own limit and its named ones, the caller's, the tenant's, everybody's.
    Call(&'s Snapshot),
    /// Anything else behind a tenant's door: the key's own limit and the tenant's.
    Door,
    /// The administration of keys, whose askers are services: the limit of the key that is shown.
    KeyAdmin,
}

/// A key's, a caller's, three of its tenant, and everybody's.
const LIMITS_MAX: usize = 6;

/// Whose limit, what it is, and where it is counted.
type Counter<'l> = (&'static str, RateLimit, &'l RateCell);

/// What has let a request in so far.
pub(super) struct Held<'l> {
    taken: [Option<(RateLimit, &'l RateCell)>; LIMITS_MAX],
    named: &'l [named::NamedCount],
    pub(super) tightest: Option<RateVerdict>,
}

impl Held<'_> {
    /// Gives everything back, because a limit that is counted elsewhere refused so much later. What has come back by itself
    /// meanwhile is not given twice.
    pub(super) fn put_back_after(&self, elapsed_ns: u64) {
        for (limit, cell) in self.taken.iter().flatten() {
            cell.give(limit.increment_ns().saturating_sub(elapsed_ns));
        }
        named::leave(self.named);
    }
}

/// Counts one request against every limit that concerns it, narrowest first, so that a noisy caller uses up nobody else's
/// allowance. Returns the tightest verdict for the answer's headers.
///
/// # Errors
/// `rate_limited` with the limit that refused; what the others had counted is put back.
pub fn count(asked: Counted<'_>, caller: &Caller, now_ns: u64) -> Result<Option<RateVerdict>, Refusal> {
    let tenants = tenants_of(asked, caller).iter().map(|limited| whole("tenant", limited));
    hold(asked, caller, tenants, now_ns).map(|held| held.tightest)
}

/// The limits of its tenant that a request counts against.
pub(super) fn tenants_of<'c>(asked: Counted<'_>, caller: &'c Caller) -> &'c [Limited] {
    match asked {
        Counted::Call(_) | Counted::Door => &caller.tenant.rates,
        Counted::KeyAdmin => &[],
    }
}

/// Counts one request against what is counted here, the tenant's limits as they are given.
pub(super) fn hold<'l>(
    asked: Counted<'l>,
    caller: &'l Caller,
    tenants: impl Iterator<Item = Counter<'l>>,
    now_ns: u64,
) -> Result<Held<'l>, Refusal> {
    let key = caller.key.as_ref();
    let (named, own, everybodys) = match asked {
        Counted::Call(snapshot) => {
            let named = key.map_or(&[][..], |key| &key.named);
            (named, caller.rate.as_ref(), snapshot.global_rate.as_ref())
        }
        Counted::Door | Counted::KeyAdmin => (&[][..], None, None),
    };
    let strictest = named::admit(named, now_ns).map_err(|verdict| too_many("key", verdict))?;
    let of_key = key.and_then(|key| key.rate.as_ref()).map(|limited| whole("key", limited));
    let of_caller = own.map(|limited| whole("caller", limited));
    let of_all = everybodys.map(|limited| whole("gateway", limited));
    let limits = of_key.into_iter().chain(of_caller).chain(tenants).chain(of_all);
    let mut held = Held { taken: [None; LIMITS_MAX], named, tightest: strictest };
    let refused = take_each(limits, &mut held, now_ns);
    refused.inspect_err(|_| held.put_back_after(0))?;
    Ok(held)
}

fn take_each<'l>(
    limits: impl Iterator<Item = Counter<'l>>,
    held: &mut Held<'l>,
    now_ns: u64,
) -> Result<(), Refusal> {
    for ((whose, limit, cell), place) in limits.zip(&mut held.taken) {
        let verdict = cell.take(limit, now_ns);
        if !verdict.allowed {
            return Err(too_many(whose, verdict));
        }
        *place = Some((limit, cell));
        held.tightest = tighter(held.tightest, verdict);
    }
    Ok(())
}

fn whole<'l>(whose: &'static str, limited: &'l Limited) -> Counter<'l> {
    (whose, limited.limit, &limited.cell)
}

/// The verdict that leaves less.
pub(super) fn tighter(seen: Option<RateVerdict>, verdict: RateVerdict) -> Option<RateVerdict> {
    Some(seen.filter(|seen| seen.remaining <= verdict.remaining).unwrap_or(verdict))
}

pub(super) fn too_many(whose: &'static str, verdict: RateVerdict) -> Refusal {
    let wait_s = verdict.retry_after_ns.div_ceil(1_000_000_000).max(1);
    let mut refusal =
        Refusal::new(Code::RateLimited, "Rate limit exceeded").retry_after(wait_s).with("limited", whose);
    refusal.rate = Some(Box::new(verdict));
    refusal
}
