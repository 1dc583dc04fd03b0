//! `budget.threshold` and `budget.exceeded`: budgets that calls have noted are looked at beside them, and told of by what the
//! ledger proves, each threshold once in a window whoever notices it.

use std::collections::HashMap;
use std::sync::Arc;

use bh_domain::budget::{Owner, Period, SESSION_WINDOW};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{Scope, TenantId};
use bh_domain::time::{DAY_MS, SECOND_MS, Timestamp};
use bh_domain::webhook::{self, EventKind};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::outbox::Outbox;
use crate::budgets::{BudgetKeeper, Note};
use crate::ports::{BudgetStore, BudgetWindow, Clock, OutboxEvent, OutboxStore, StoreFault};
use crate::snapshot::Live;

/// What is told, lowest first.
const LEVELS: [Level; 3] = [Level::Percent(80), Level::Percent(95), Level::Exceeded];
/// Budgets that are watched at a time.
const WATCHED_MAX: usize = 8_192;
/// Budgets that one round looks at: one row each.
const ROUND_MAX: usize = 2_048;
/// Budgets that one round adds up.
const SUMS_MAX: usize = 256;
/// A budget that has not got there yet is looked at again after this long.
const AGAIN_MS: i64 = SECOND_MS;
/// A budget is added up only when as much is committed as its next threshold, and after this long all the same: a call may
/// have cost more than it held, or been begun while there was no cap.
const SUMMED_AGAIN_MS: i64 = 60 * SECOND_MS;
/// A window that is over is looked at for so long: its last calls may be settled a little later.
const AFTER_END_MS: i64 = 60 * SECOND_MS;
/// A session has no end; it is watched for this long.
const SESSION_WATCHED_MS: i64 = DAY_MS;

/// What of a budget is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// So many hundredths of the cap are spent.
    Percent(i64),
    /// All of it is, or a call was refused.
    Exceeded,
}

impl Level {
    fn name(self) -> String {
        match self {
            Self::Percent(percent) => percent.to_string(),
            Self::Exceeded => "exceeded".to_owned(),
        }
    }

    fn kind(self) -> EventKind {
        match self {
            Self::Percent(_) => EventKind::BudgetThreshold,
            Self::Exceeded => EventKind::BudgetExceeded,
        }
    }

    fn is_reached(self, spent: NanoUsd, watched: &Watched) -> bool {
        match self {
            Self::Percent(percent) => {
                i128::from(spent.0) * 100 >= i128::from(watched.cap.0) * i128::from(percent)
            }
            Self::Exceeded => watched.refused || spent >= watched.cap,
        }
    }
}

/// A budget that is watched.
#[derive(Clone, Debug)]
struct Watched {
    cap: NanoUsd,
    ends: Option<Timestamp>,
    refused: bool,
    /// Which of [`LEVELS`] were told, or need not be.
    told: [bool; LEVELS.len()],
    look_at: Timestamp,
    /// When it is added up whatever is committed.
    sum_at: Timestamp,
    give_up_at: Timestamp,
}

impl Watched {
    /// What was reached and is not told yet.
    fn reached(&self, spent: NanoUsd) -> impl Iterator<Item = Level> {
        let open = LEVELS.into_iter().zip(self.told).filter(|(_, told)| !told).map(|(level, _)| level);
        open.filter(move |level| level.is_reached(spent, self))
    }
}

/// Watches budgets that calls have noted.
#[derive(Clone)]
pub struct BudgetWatch(Arc<Inner>);

struct Inner {
    keeper: BudgetKeeper,
    budgets: Arc<dyn BudgetStore>,
    store: Arc<dyn OutboxStore>,
    live: Live,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    watched: Mutex<HashMap<BudgetWindow, Watched>>,
}

impl std::fmt::Debug for BudgetWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BudgetWatch").field("watched", &self.0.watched.lock().len()).finish_non_exhaustive()
    }
}

impl BudgetWatch {
    /// A watch over the budgets of `keeper`.
    #[must_use]
    pub fn new(
        keeper: BudgetKeeper,
        budgets: Arc<dyn BudgetStore>,
        store: Arc<dyn OutboxStore>,
        live: Live,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let outbox = Outbox::new(Arc::clone(&live));
        Self(Arc::new(Inner { keeper, budgets, store, live, outbox, clock, watched: Mutex::default() }))
    }

    /// Looks at what was noted, and at what has not got there yet. To be run every second.
    ///
    /// # Errors
    /// When the store does not answer; nothing is forgotten by that.
    pub async fn round(&self) -> Result<(), StoreFault> {
        let now = self.0.clock.now();
        let due = self.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let scope = Scope::system("watch budgets");
        let committed = self.0.budgets.committed(scope.clone(), due.clone()).await?;
        let due = to_sum(&mut self.0.watched.lock(), due, &committed, now);
        let figures = self.0.budgets.figures(scope.clone(), due.clone()).await?;
        let (mut events, mut reached) = (Vec::new(), Vec::new());
        for (budget, figures) in due.into_iter().zip(figures) {
            let spent = figures.settled + figures.unsettled;
            let levels = self.reached(&budget, spent);
            events.extend(levels.iter().filter_map(|level| self.event(&budget, *level, spent, now)));
            reached.push((budget, levels));
        }
        if !events.is_empty() {
            self.0.store.append_outbox(scope, events).await?;
        }
        self.told(reached, now);
        Ok(())
    }

    /// Takes up new notes; which budgets are to be looked at now.
    fn due(&self, now: Timestamp) -> Vec<BudgetWindow> {
        let is_wanted = self.is_wanted();
        let mut watched = self.0.watched.lock();
        watched.retain(|_, one| now < one.give_up_at);
        for note in self.0.keeper.take_notes() {
            if let Some(budget) = take_up(&mut watched, note, now).filter(|_| is_wanted) {
                tracing::warn!(?budget, "too many budgets are nearly used up to watch this one");
            }
        }
        if !is_wanted {
            return Vec::new();
        }
        let mut due: Vec<_> = watched.iter().filter(|(_, one)| one.look_at <= now).collect();
        // Those that wait longest first, so that each has its turn.
        due.sort_unstable_by_key(|(_, one)| one.look_at);
        due.into_iter().take(ROUND_MAX).map(|(budget, _)| budget.clone()).collect()
    }

    /// Whether any endpoint is to be told: else the store is not asked. What is watched waits for one.
    fn is_wanted(&self) -> bool {
        let kinds = LEVELS.map(Level::kind);
        let snapshot = self.0.live.load();
        let mut patterns = snapshot.webhooks.endpoints.iter().flat_map(|endpoint| &endpoint.events);
        patterns.any(|pattern| kinds.iter().any(|kind| pattern.matches(*kind)))
    }

    fn reached(&self, budget: &BudgetWindow, spent: NanoUsd) -> Vec<Level> {
        let watched = self.0.watched.lock();
        watched.get(budget).map(|one| one.reached(spent).collect()).unwrap_or_default()
    }

    /// What was reached is told; what is told altogether, or can come no more, is watched no more.
    fn told(&self, reached: Vec<(BudgetWindow, Vec<Level>)>, now: Timestamp) {
        let mut watched = self.0.watched.lock();
        for (budget, levels) in reached {
            let Some(one) = watched.get_mut(&budget) else { continue };
            for (told, level) in one.told.iter_mut().zip(LEVELS) {
                *told |= levels.contains(&level);
            }
            one.look_at = now.plus_ms(AGAIN_MS);
            // The last calls of a window are proven before it is given up.
            let last = one.give_up_at.plus_ms(-AFTER_END_MS / 2);
            let again = now.plus_ms(SUMMED_AGAIN_MS);
            one.sum_at = if now < last { again.min(last) } else { again };
        }
        watched.retain(|_, one| one.told.contains(&false));
    }

    fn event(
        &self,
        budget: &BudgetWindow,
        level: Level,
        spent: NanoUsd,
        now: Timestamp,
    ) -> Option<OutboxEvent> {
        let snapshot = self.0.live.load();
        let tenant: Option<TenantId> = snapshot.tenant_by_nid(budget.nid).map(|tenant| tenant.id.clone());
        let watched = self.0.watched.lock().get(budget)?.clone();
        let mut data = owner(&budget.owner);
        let mut tell = |name: &str, value: Value| data.insert(name.to_owned(), value);
        tell("period", period(&budget.window).as_str().into());
        tell("window", budget.window.as_str().into());
        tell("windowEndsAt", watched.ends.map_or(Value::Null, |ends| ends.rfc3339().into()));
        tell("limit", watched.cap.to_string().into());
        tell("spent", spent.to_string().into());
        tell("currency", snapshot.currency.as_str().into());
        match level {
            Level::Percent(percent) => tell("thresholdPercent", percent.into()),
            Level::Exceeded => tell("refused", watched.refused.into()),
        };
        let (nid, key) = (budget.nid.to_string(), budget.owner.key());
        let id = webhook::id_of(&["budget", &nid, &key, &budget.window, &level.name()]);
        self.0.outbox.event(level.kind(), (budget.nid, tenant.as_ref()), id, now, data)
    }
}

/// Watches what a note says; the budget for which there is no room.
fn take_up(watched: &mut HashMap<BudgetWindow, Watched>, note: Note, now: Timestamp) -> Option<BudgetWindow> {
    let Note { budget, cap, ends, refused } = note;
    if let Some(one) = watched.get_mut(&budget) {
        *one = Watched { cap, ends, refused: refused || one.refused, look_at: now, sum_at: now, ..*one };
        return None;
    }
    if watched.len() >= WATCHED_MAX {
        return Some(budget);
    }
    let give_up_at = ends.map_or(now.plus_ms(SESSION_WATCHED_MS), |ends| ends.plus_ms(AFTER_END_MS));
    let told = [false; LEVELS.len()];
    watched.insert(budget, Watched { cap, ends, refused, told, look_at: now, sum_at: now, give_up_at });
    None
}

/// Those that may have reached something, by what is committed of them, and those whose turn it is; the others wait for
/// their next look.
fn to_sum(
    watched: &mut HashMap<BudgetWindow, Watched>,
    due: Vec<BudgetWindow>,
    committed: &[NanoUsd],
    now: Timestamp,
) -> Vec<BudgetWindow> {
    let mut wanted = Vec::new();
    for (budget, committed) in due.into_iter().zip(committed) {
        let Some(one) = watched.get_mut(&budget) else { continue };
        if one.sum_at > now && one.reached(*committed).next().is_none() {
            one.look_at = now.plus_ms(AGAIN_MS);
        } else if wanted.len() < SUMS_MAX {
            wanted.push(budget);
        }
    }
    wanted
}

/// Whose budget it is, for a receiver.
fn owner(owner: &Owner) -> Map<String, Value> {
    let named = |scope: &str, names: &[(&str, &str)]| {
        let all = [("scope", scope)].into_iter().chain(names.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.into())).collect()
    };
    match owner {
        Owner::Caller(name) => named("caller", &[("caller", name)]),
        Owner::Tenant => named("tenant", &[]),
        Owner::Organization => named("organization", &[]),
        Owner::Session { caller, id } => named("session", &[("caller", caller), ("sessionId", id)]),
        Owner::Token(id) => named("token", &[("tokenId", id)]),
    }
}

/// The period that a window is of, by the form of its name.
fn period(window: &str) -> Period {
    if window == SESSION_WINDOW {
        Period::Session
    } else if window.len() == "2026-11".len() {
        Period::Month
    } else {
        Period::Day
    }
}

#[cfg(test)]
mod tests {
    use bh_domain::tenant::Nid;

    use super::*;

    const CAP: NanoUsd = NanoUsd(100);
    const NOW: Timestamp = Timestamp(1_000_000);

    fn month(tenant: u128) -> BudgetWindow {
        let nid = Nid(uuid::Uuid::from_u128(tenant));
        BudgetWindow { nid, owner: Owner::Tenant, window: "2026-11".to_owned() }
    }

    /// Watched budgets of which 80 % were told, added up a moment ago.
    fn watched(tenants: u128) -> HashMap<BudgetWindow, Watched> {
        let mut watched = HashMap::new();
        for budget in (0..tenants).map(month) {
            let note = Note { budget: budget.clone(), cap: CAP, ends: None, refused: false };
            assert_eq!(take_up(&mut watched, note, NOW), None);
            if let Some(one) = watched.get_mut(&budget) {
                (one.told[0], one.sum_at) = (true, NOW.plus_ms(SUMMED_AGAIN_MS));
            }
        }
        watched
    }

    #[test]
    fn only_what_may_have_reached_its_next_threshold_is_added_up_and_all_of_it_in_turn() {
        let tenants = u128::try_from(WATCHED_MAX).unwrap();
        let mut watched = watched(tenants);
        let due: Vec<BudgetWindow> = (0..tenants).map(month).collect();
        let mut committed = vec![NanoUsd(94); WATCHED_MAX];
        assert_eq!(to_sum(&mut watched, due.clone(), &committed, NOW), []);
        committed[7] = NanoUsd(95);
        assert_eq!(to_sum(&mut watched, due.clone(), &committed, NOW), [month(7)]);
        // A refusal is told whatever is committed; and a note has its budget added up.
        let note = Note { budget: month(9), cap: CAP, ends: None, refused: true };
        take_up(&mut watched, note, NOW);
        assert_eq!(to_sum(&mut watched, due.clone(), &committed, NOW), [month(7), month(9)]);
        // All the same, each is added up now and then: no more than so many in a round, and the others are the next due.
        let later = NOW.plus_ms(SUMMED_AGAIN_MS);
        let first = to_sum(&mut watched, due.clone(), &committed, later);
        assert_eq!(first, due[..SUMS_MAX]);
        assert!(due[SUMS_MAX..].iter().all(|budget| watched[budget].look_at <= later));
    }
}
