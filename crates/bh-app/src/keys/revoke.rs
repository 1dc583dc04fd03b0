//! The end of keys.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bh_domain::keys::key::{Key, KeyId, KeyKind, Revocation};
use bh_domain::keys::route::{CREDENTIAL_BYTES_MAX, Route, route};
use bh_domain::keys::verdict::{KeyStatus, RevocationReason, VerificationError, Visibility};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::{DAY_MS, Timestamp};

use super::trail::Action;
use super::{Asker, KeyStory, invalid, tokens, unknown_key};
use crate::metrics::CredentialType;

const DESCRIPTION_CHARS_MAX: usize = 500;
/// How long an administrator's revocation stays on record at least.
const RETAINED_MS: i64 = 30 * DAY_MS;
/// How the audit log names a holder who gives up a key of its own.
const HOLDER_ROLE: &str = "holder";

/// Why a key ends, and what ends with it.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// Why.
    pub reason: RevocationReason,
    /// In words; only with [`RevocationReason::PrivilegeWithdrawn`].
    pub description: Option<String>,
    /// Whether tokens derived from it end too.
    pub derived: bool,
}

/// A holder's wish to end its own key.
#[derive(Clone, Debug)]
pub struct SelfRevoke {
    /// The key itself: whoever has it may end it.
    pub credential: String,
    /// Why: needed for a key that is good until then.
    pub reason: RevocationReason,
    /// Where the wish comes from, for the audit trail.
    pub address: IpAddr,
}

impl KeyStory {
    /// Revokes a key.
    ///
    /// # Errors
    /// `invalid_request`, `not_found`, `conflict` when it is revoked already and no tokens are to end, and
    /// `evidence_unavailable`.
    pub async fn revoke(
        &self,
        asker: &Asker,
        kind: KeyKind,
        key_id: &str,
        revoke: Revoke,
    ) -> Result<(), Refusal> {
        let revocation = checked(&revoke)?;
        let now = self.0.parts.clock.now();
        let before = AtomicBool::new(false);
        let decide = |key: Key| match key.status {
            // Its tokens live on, and may still be ended.
            KeyStatus::Revoked if revoke.derived => {
                before.store(true, Ordering::Relaxed);
                Ok(None)
            }
            KeyStatus::Revoked => Err(Refusal::new(Code::Conflict, "The key is revoked already")),
            KeyStatus::Active | KeyStatus::Expired => {
                Ok(Some(retained(revoked(key, revocation.clone()), now)))
            }
        };
        let key = self.changed(asker, kind, key_id, Action::Revoked, decide).await?;
        if !before.load(Ordering::Relaxed) {
            self.0.parts.metrics.keys.revoked(revoke.reason);
        }
        if revoke.derived { self.deny_derived(asker, &key).await } else { Ok(()) }
    }

    /// Denies one derived token, by the id in its claim `jti`, for as long as one can live.
    ///
    /// # Errors
    /// `invalid_request`, `evidence_unavailable`.
    pub async fn deny_token(&self, asker: &Asker, jti: &str) -> Result<(), Refusal> {
        let id = KeyId::parse(jti).map_err(|_| invalid("jti", "is not the id of a token"))?;
        let longest = asker.tenant.keys.max_ttl + asker.tenant.keys.clock_skew;
        let now = self.0.parts.clock.now();
        let until = now.plus_ms(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
        self.deny(asker, &id, tokens::of_token(jti), until).await
    }

    /// Denies every token derived from a key, for as long as one can live.
    async fn deny_derived(&self, asker: &Asker, key: &Key) -> Result<(), Refusal> {
        let settings = &asker.tenant.keys;
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let end = key.expires.unwrap_or_else(|| self.0.parts.clock.now().plus_ms(ms(settings.max_ttl)));
        // A token is good for as long after its end as clocks may differ.
        let until = end.plus_ms(ms(settings.clock_skew));
        self.deny(asker, &key.key_id, tokens::of_key(key.key_id.as_str()), until).await
    }

    async fn deny(
        &self,
        asker: &Asker,
        object: &KeyId,
        subject: String,
        until: Timestamp,
    ) -> Result<(), Refusal> {
        let event = self.event(asker, Action::TokensDenied, object, None, None);
        let denied = self.0.parts.store.deny(asker.scope(), subject.clone(), until, event).await;
        denied.map_err(|fault| fault.refusal())?;
        self.0.denials.add(asker.tenant.nid, subject, until);
        Ok(())
    }

    /// Revokes the key that is shown, once or again.
    ///
    /// # Errors
    /// `invalid_request` and its kin for what is no key, `not_found` for what is not known here, `forbidden` for a public
    /// key, which anybody may hold, `api_key_expired`, `evidence_unavailable`.
    pub async fn self_revoke(&self, mut asker: Asker, wish: SelfRevoke) -> Result<(), Refusal> {
        if wish.reason == RevocationReason::PrivilegeWithdrawn {
            let problem = "REVOCATION_REASON_PRIVILEGE_WITHDRAWN is for administrators";
            return Err(invalid("reason", problem));
        }
        let key = self.own_key(&asker, &wish.credential).await.inspect_err(|refusal| {
            if refusal.code == Code::NotFound {
                let (of, code) = (CredentialType::Unknown, VerificationError::NotFound);
                self.failed(asker.tenant.nid, of, code, None, Some(wish.address));
            }
        })?;
        let now = self.0.parts.clock.now();
        match key.status_at(now) {
            KeyStatus::Revoked => return Ok(()),
            KeyStatus::Expired => {
                return Err(Refusal::new(Code::ApiKeyExpired, "The API key has expired"));
            }
            KeyStatus::Active => {}
        }
        if key.visibility == Visibility::Public {
            let message = "A public key cannot revoke itself: anybody may hold it. Ask an administrator";
            return Err(Refusal::new(Code::Forbidden, message));
        }
        if wish.reason == RevocationReason::Unspecified {
            return Err(invalid("reason", reasons(&[RevocationReason::PrivilegeWithdrawn])));
        }
        asker.actor = key.actor_id.clone().unwrap_or_else(|| key.key_id.to_string());
        asker.role = HOLDER_ROLE;
        let revocation = Revocation { reason: wish.reason, description: None };
        let decide = |key: Key| match key.status {
            KeyStatus::Revoked => Ok(None),
            KeyStatus::Active | KeyStatus::Expired => Ok(Some(revoked(key, revocation.clone()))),
        };
        self.changed(&asker, key.kind, key.key_id.as_str(), Action::Revoked, decide).await?;
        self.0.parts.metrics.keys.revoked(wish.reason);
        Ok(())
    }

    /// The row of the key that is shown, read from the store.
    async fn own_key(&self, asker: &Asker, credential: &str) -> Result<Key, Refusal> {
        if credential.is_empty() {
            return Err(Refusal::new(Code::CredentialRequired, "`credential` is missing or empty"));
        }
        if credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(invalid("credential", format!("longer than {CREDENTIAL_BYTES_MAX} bytes")));
        }
        let house = self.0.houses.of(&asker.tenant)?;
        let now = self.0.parts.clock.now();
        let (kind, ids) = match route(credential.as_bytes(), &house.macaroons) {
            Route::Jwt | Route::Macaroon => {
                let message = "A derived token cannot be revoked: revoke the key it was derived from";
                return Err(Refusal::new(Code::DerivedTokenNotRevocable, message));
            }
            Route::Issued(key) if !key.is_signed(&house.secrets, now) => {
                return Err(unknown_key(KeyKind::Issued));
            }
            Route::Issued(key) => (KeyKind::Issued, vec![key.key_id.hyphenated().to_string()]),
            Route::Imported => {
                let ids = self.0.parts.hasher.candidates(asker.tenant.nid, credential.as_bytes());
                (KeyKind::Imported, ids.to_vec())
            }
        };
        let ids: Vec<KeyId> = ids.iter().filter_map(|id| KeyId::parse(id).ok()).collect();
        let found = self.0.parts.store.keys(asker.scope(), kind, ids.clone()).await;
        let found = found.map_err(|fault| fault.refusal())?;
        // The one that answers for the text, where it is here under several hashes.
        let found = found.into_iter().min_by_key(|key| ids.iter().position(|id| *id == key.key_id));
        let shown = found.filter(|key| match route(credential.as_bytes(), &house.macaroons) {
            Route::Issued(shown) => shown.carries(key.secret_digest.as_ref()),
            Route::Imported => true,
            Route::Jwt | Route::Macaroon => false,
        });
        shown.ok_or_else(|| unknown_key(KeyKind::Issued))
    }
}

fn revoked(key: Key, revocation: Revocation) -> Key {
    Key { status: KeyStatus::Revoked, revocation: Some(revocation), ..key }
}

/// A revoked key is kept, and told with an end, for a while at least (dossier §2.5).
fn retained(key: Key, now: Timestamp) -> Key {
    let end = now.plus_ms(RETAINED_MS);
    Key { expires: Some(key.expires.map_or(end, |expires| expires.max(end))), ..key }
}

/// Which reasons there are, but for some.
fn reasons(without: &[RevocationReason]) -> String {
    let known = RevocationReason::ALL.iter().skip(1).filter(|reason| !without.contains(reason));
    let known = known.map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
    format!("is needed: one of {known}")
}

fn checked(revoke: &Revoke) -> Result<Revocation, Refusal> {
    let Revoke { reason, description, .. } = revoke;
    if *reason == RevocationReason::Unspecified {
        return Err(invalid("reason", reasons(&[])));
    }
    let description = description.as_deref().filter(|description| !description.is_empty());
    if let Some(description) = description {
        if *reason != RevocationReason::PrivilegeWithdrawn {
            let problem = "only REVOCATION_REASON_PRIVILEGE_WITHDRAWN takes a description";
            return Err(invalid("description", problem));
        }
        if description.chars().nth(DESCRIPTION_CHARS_MAX).is_some() {
            return Err(invalid("description", format!("longer than {DESCRIPTION_CHARS_MAX} characters")));
        }
        if description.contains('\0') {
            return Err(invalid("description", "holds a NUL character: leave it out"));
        }
    }
    Ok(Revocation { reason: *reason, description: description.map(str::to_owned) })
}
