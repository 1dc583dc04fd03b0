//! Credits: uses of a key that are paid for. They are the store's, so that they are exact on every replica and survive
//! everything; a key without them costs no statement.

use std::sync::Arc;

use bh_domain::keys::credits::{CREDITS_MAX, Refill, left_until};
use bh_domain::keys::extras::Extras;
use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind};
use bh_domain::keys::verdict::VerificationError;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use super::rows::Row;
use super::trail::Action;
use super::verdict::{Denied, Freshness};
use super::{Asker, CHANGE_TRIES_MAX, KeyStory, changed_too_often, invalid, unknown_key};
use crate::ports::{AuditEvent, CreditsChange, CreditsDue, CreditsWanted, StoreFault};
use crate::snapshot::Tenant;

/// Rotations with a time of grace, one after the other, after which the first key still spends the last one's credits.
const SUCCESSORS_MAX: usize = 100;

/// How often a use follows credits that move away while it is about to take some.
const BALANCES_MAX: usize = 2;

/// What is left of a key's credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditsTold {
    /// How many uses.
    pub remaining: i64,
    /// Whether that is fewer than were asked for: none was taken then.
    pub exceeded: bool,
}

/// The most credits that a key has, until more may be there. Whoever wants more than that is refused without a statement:
/// what others take makes them only fewer, and whatever else changes them takes the row out of memory, this with it.
#[derive(Debug)]
pub(super) struct AtMost(Mutex<Option<(i64, Timestamp)>>);

impl AtMost {
    /// As a row says that was read.
    pub(super) fn of(key: &Key) -> Self {
        Self(Mutex::new(key.credits.map(|left| (left, key.refills.unwrap_or(Timestamp(i64::MAX))))))
    }

    /// How many there are, when that is known, and fewer than wanted.
    fn fewer_than(&self, cost: u64, now: Timestamp) -> Option<i64> {
        let (left, until) = (*self.0.lock())?;
        (now < until && i64::try_from(cost).is_ok_and(|cost| left < cost)).then_some(left)
    }

    /// Notes how many there were a moment ago, and until when there are no more.
    fn note(&self, left_until: Option<(i64, Timestamp)>) {
        *self.0.lock() = left_until;
    }
}

/// What taking credits came to; `None` for a key that has any number.
pub(super) type Spent = Result<Option<CreditsTold>, Denied>;

/// What became of an attempt to take credits where a row said that they are.
enum Balance {
    Told(Option<CreditsTold>),
    /// They are another key's by now, which this row names.
    Moved(Arc<Row>),
}

impl KeyStory {
    /// Takes credits of a key that has some when it was read; with a cost of 0 they are only told. What memory knows to be
    /// too much to ask for is refused without a statement.
    pub(super) async fn spend(
        &self,
        tenant: &Tenant,
        row: &Arc<Row>,
        cost: u64,
        freshness: Freshness,
    ) -> Spent {
        let mut row = Arc::clone(row);
        for _ in 0..BALANCES_MAX {
            let Some(balance) = self.balance(tenant, &row, freshness).await? else { break };
            if balance.key.credits.is_none() {
                return Ok(None);
            }
            match self.spend_own(tenant.nid, &balance, cost).await? {
                Balance::Told(told) => return Ok(told),
                Balance::Moved(rotated) => row = rotated,
            }
        }
        Ok(Some(CreditsTold { remaining: 0, exceeded: cost > 0 }))
    }

    /// The row whose credits a key spends: its own or, when it has been rotated with a time of grace, that of the key
    /// which took its place, as it is now. `None` when that is gone.
    async fn balance(
        &self,
        tenant: &Tenant,
        row: &Arc<Row>,
        freshness: Freshness,
    ) -> Result<Option<Arc<Row>>, Denied> {
        let mut balance = Arc::clone(row);
        for _ in 0..SUCCESSORS_MAX {
            let Some(successor) = balance.extras.as_ref().and_then(successor) else {
                return Ok(Some(balance));
            };
            match self.named_row(tenant, &successor, freshness).await? {
                Some(found) => balance = found.row,
                None => return Ok(None),
            }
        }
        tracing::warn!(key_id = %row.key.key_id, "rotated too often to spend its successor's credits");
        Ok(None)
    }

    async fn spend_own(&self, nid: Nid, row: &Row, cost: u64) -> Result<Balance, Denied> {
        let Key { kind, key_id, .. } = &row.key;
        let scope = Scope::tenant(nid);
        let now = self.0.parts.clock.now();
        if let Some(remaining) = row.credits.fewer_than(cost, now) {
            return Ok(Balance::Told(Some(CreditsTold { remaining, exceeded: true })));
        }
        let refill = refill_of(&row.key);
        if cost > 0 {
            self.0.parts.metrics.keys.credit_writes.inc();
            let due = due(refill, now);
            let spent =
                self.0.parts.store.spend_credits(scope.clone(), *kind, key_id.clone(), cost, due).await;
            if let Some(remaining) = spent.map_err(|fault| unanswered(&fault))? {
                row.credits.note(left_until(&row.key, refill, now).map(|(_, until)| (remaining, until)));
                return Ok(Balance::Told(Some(CreditsTold { remaining, exceeded: false })));
            }
        }
        let stored = self.0.parts.store.keys(scope, *kind, vec![key_id.clone()]).await;
        let stored = stored.map_err(|fault| unanswered(&fault))?.pop();
        let key = stored.ok_or_else(|| Denied::because(VerificationError::NotFound))?;
        if shares_credits_with(&key).is_some() {
            // It was rotated, and the row is from before: the news of it are on their way.
            self.0.rows.evict(nid, key_id);
            return Ok(Balance::Moved(Arc::new(Row::new(key))));
        }
        let left = left_until(&key, refill_of(&key), now);
        row.credits.note(left);
        Ok(Balance::Told(left.map(|(remaining, _)| CreditsTold { remaining, exceeded: cost > 0 })))
    }

    /// Changes a key's credits (Unkey's `updateCredits`).
    ///
    /// # Errors
    /// `invalid_request` for more than a key can have; `not_found`; `failed_precondition` when some are to be added to,
    /// or taken from, a key that has any number; `evidence_unavailable`.
    pub async fn update_credits(
        &self,
        asker: &Asker,
        kind: KeyKind,
        key_id: &str,
        change: CreditsChange,
    ) -> Result<Key, Refusal> {
        let key_id = KeyId::parse(key_id).map_err(|_| unknown_key(kind))?;
        let number = match change {
            CreditsChange::Set(credits) => credits.unwrap_or(0),
            CreditsChange::Add(more) => more.saturating_abs(),
        };
        if !(0..=CREDITS_MAX).contains(&number) {
            return Err(invalid("value", format!("expected 0 to {CREDITS_MAX}")));
        }
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.stored(asker, kind, &key_id).await?;
            if let Some(refusal) = self.refused_for_credits(asker, &before).await? {
                return Err(refusal);
            }
            let changed = self.set_credits(asker, &before, change).await?;
            self.forget(asker.tenant.nid, &key_id);
            let key = self.stored(asker, kind, &key_id).await?;
            match (changed, key.credits) {
                (true, _) => return Ok(key),
                // Perhaps it was rotated meanwhile, and its credits are another key's.
                (false, _) if key.revision != before.revision => {}
                (false, Some(_)) => {
                    return Err(invalid("value", format!("the key would have more than {CREDITS_MAX}")));
                }
                (false, None) => {
                    let message =
                        "The key has any number of uses: set a number before some are added or taken";
                    return Err(Refusal::new(Code::FailedPrecondition, message));
                }
            }
        }
        Err(changed_too_often())
    }

    /// Changes the credits of a key that nobody else has changed since it was read.
    async fn set_credits(&self, asker: &Asker, before: &Key, change: CreditsChange) -> Result<bool, Refusal> {
        let Key { kind, key_id, revision, .. } = before;
        let due = due(refill_of(before), self.0.parts.clock.now());
        let event = AuditEvent {
            detail: detail(change),
            ..self.event(asker, Action::CreditsUpdated, key_id, Some(before), Some(before))
        };
        let wanted = CreditsWanted { change, due, expected_revision: *revision };
        let store = &self.0.parts.store;
        let changed = store.set_credits(asker.scope(), *kind, key_id.clone(), wanted, event).await;
        changed.map_err(|fault| fault.refusal())
    }

    /// Why a key's credits are not its own to change or to pass on: it was rotated, and they are its successor's.
    pub(super) async fn refused_for_credits(
        &self,
        asker: &Asker,
        key: &Key,
    ) -> Result<Option<Refusal>, Refusal> {
        let Some(mut successor) = shares_credits_with(key) else { return Ok(None) };
        let refusal = |message: String, of: &KeyId| {
            Ok(Some(Refusal::new(Code::FailedPrecondition, message).with("key_id", of.as_str())))
        };
        for _ in 0..SUCCESSORS_MAX {
            let stored = &self.0.parts.store;
            let found = stored.keys(asker.scope(), key.kind, vec![successor.clone()]).await;
            let Some(found) = found.map_err(|fault| fault.refusal())?.pop() else {
                let message = format!(
                    "This key was rotated, and {successor}, which had its credits, was deleted: issue another key"
                );
                return refusal(message, &successor);
            };
            let Some(next) = shares_credits_with(&found) else { break };
            successor = next;
        }
        let message = format!(
            "This key was rotated and spends the credits of {successor}: change or rotate that one instead"
        );
        refusal(message, &successor)
    }
}

/// The key whose credits a key spends instead of its own.
fn shares_credits_with(key: &Key) -> Option<KeyId> {
    successor(&Extras::read(&key.extras).ok()?)
}

fn successor(extras: &Extras) -> Option<KeyId> {
    extras.credits_of.as_deref().and_then(|id| KeyId::parse(id).ok())
}

/// When a key's credits are replaced.
fn refill_of(key: &Key) -> Option<Refill> {
    Extras::read(&key.extras).ok().and_then(|extras| extras.credits_refill)
}

fn due(refill: Option<Refill>, now: Timestamp) -> CreditsDue {
    CreditsDue { now, refill: refill.map(|refill| (refill.amount, refill.next(now))) }
}

fn detail(change: CreditsChange) -> JsonObject {
    let told = match change {
        CreditsChange::Set(credits) => json!({ "set": credits }),
        CreditsChange::Add(more) => json!({ "add": more }),
    };
    JsonObject::parse(told.to_string()).unwrap_or_default()
}

fn unanswered(fault: &StoreFault) -> Denied {
    tracing::error!(error = fault as &dyn std::error::Error, "a key's credits were not counted");
    Denied::because(VerificationError::Internal)
}

#[cfg(test)]
mod tests {
    use super::super::Attributes;
    use super::super::issue::new_key;
    use super::*;

    /// The black-box half is `credits_that_are_used_up_are_refused_without_a_statement`.
    #[test]
    fn memory_refuses_what_cannot_be_there_until_a_refill() {
        let id = KeyId::parse("key-1").unwrap();
        let key = new_key(KeyKind::Issued, id, Attributes::default(), Timestamp(0), None);
        let free = AtMost::of(&key);
        assert_eq!(free.fewer_than(u64::MAX, Timestamp(0)), None, "any number");
        let credits = AtMost::of(&Key { credits: Some(2), refills: Some(Timestamp(100)), ..key });
        let fewer = |cost, ms| credits.fewer_than(cost, Timestamp(ms));
        assert_eq!((fewer(0, 99), fewer(2, 99), fewer(3, 99)), (None, None, Some(2)));
        assert_eq!(fewer(3, 100), None, "a refill is due");
        credits.note(Some((0, Timestamp(200))));
        assert_eq!((fewer(0, 100), fewer(1, 100), fewer(1, 200)), (None, Some(0), None));
    }
}
