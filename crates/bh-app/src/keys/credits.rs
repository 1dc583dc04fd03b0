//! Credits: uses of a key that are paid for. They are the store's, so that they are exact on every replica and survive
//! everything; a key without them costs no statement.

use std::sync::Arc;

use bh_domain::keys::credits::{CREDITS_MAX, Refill, left};
use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind};
use bh_domain::keys::verdict::VerificationError;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use serde_json::json;

use super::rows::Row;
use super::trail::Action;
use super::verdict::Denied;
use super::{Asker, KeyStory, invalid, store_fault, unknown_key};
use crate::ports::{AuditEvent, CreditsChange, CreditsDue, StoreFault};

/// What is left of a key's credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditsTold {
    /// How many uses.
    pub remaining: i64,
    /// Whether that is fewer than were asked for: none was taken then.
    pub exceeded: bool,
}

/// What taking credits came to; `None` for a key that has any number.
pub(super) type Spent = Result<Option<CreditsTold>, Denied>;

impl KeyStory {
    /// Takes credits of a key that has some when it was read; with a cost of 0 they are only told.
    pub(super) async fn spend(&self, nid: Nid, row: &Arc<Row>, cost: u64) -> Spent {
        let Key { kind, key_id, .. } = &row.key;
        let scope = Scope::tenant(nid);
        let now = self.0.parts.clock.now();
        if cost > 0 {
            let due = due(refill_of(&row.key), now);
            let spent =
                self.0.parts.store.spend_credits(scope.clone(), *kind, key_id.clone(), cost, due).await;
            if let Some(remaining) = spent.map_err(|fault| unanswered(&fault))? {
                return Ok(Some(CreditsTold { remaining, exceeded: false }));
            }
        }
        let stored = self.0.parts.store.keys(scope, *kind, vec![key_id.clone()]).await;
        let stored = stored.map_err(|fault| unanswered(&fault))?.pop();
        let key = stored.ok_or_else(|| Denied::because(VerificationError::NotFound))?;
        let told = |remaining| CreditsTold { remaining, exceeded: cost > 0 };
        Ok(left(&key, refill_of(&key), now).map(told))
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
        let before = self.stored(asker, kind, &key_id).await?;
        let due = due(refill_of(&before), self.0.parts.clock.now());
        let event = AuditEvent {
            detail: detail(change),
            ..self.event(asker, Action::CreditsUpdated, &key_id, Some(&before), Some(&before))
        };
        let store = &self.0.parts.store;
        let changed = store.set_credits(asker.scope(), kind, key_id.clone(), (change, due), event).await;
        let changed = changed.map_err(|fault| store_fault(&fault))?;
        self.forget(asker.tenant.nid, &key_id);
        let key = self.stored(asker, kind, &key_id).await?;
        match (changed, key.credits) {
            (true, _) => Ok(key),
            (false, Some(_)) => Err(invalid("value", format!("the key would have more than {CREDITS_MAX}"))),
            (false, None) => {
                let message = "The key has any number of uses: set a number before some are added or taken";
                Err(Refusal::new(Code::FailedPrecondition, message))
            }
        }
    }
}

/// When a key's credits are replaced.
fn refill_of(key: &Key) -> Option<Refill> {
    bh_domain::keys::extras::Extras::read(&key.extras).ok().and_then(|extras| extras.credits_refill)
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
