//! Changes of a key's attributes, and whether it may be used at all.

use bh_domain::keys::extras::{PERMISSIONS, RATE_LIMITS};
use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind, KeyRateLimit};
use bh_domain::keys::named::NamedLimit;
use bh_domain::refusal::Refusal;

use super::trail::Action;
use super::{Asker, CHANGE_TRIES_MAX, KeyStory, attributes, changed_too_often, unknown_key};

/// New attributes of a key; `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Its name.
    pub name: Option<String>,
    /// Its scopes.
    pub scopes: Option<Vec<String>>,
    /// Its metadata.
    pub metadata: Option<JsonObject>,
    /// Its rate limit; `Some(None)` takes it away.
    pub rate_limit: Option<Option<KeyRateLimit>>,
    /// Where it may be used; empty for anywhere.
    pub allowed_cidrs: Option<Vec<String>>,
    /// Its own policy; `Some(None)` takes it away.
    pub policy_overrides: Option<Option<JsonObject>>,
    /// What it has been granted.
    pub permissions: Option<Vec<String>>,
    /// Its named limits.
    pub rate_limits: Option<Vec<NamedLimit>>,
}

impl Change {
    fn checked(&self) -> Result<(), Refusal> {
        self.name.as_deref().map_or(Ok(()), attributes::name)?;
        self.scopes.as_deref().map_or(Ok(()), attributes::scopes)?;
        self.metadata.as_ref().map_or(Ok(()), attributes::metadata)?;
        self.policy_overrides.iter().flatten().try_for_each(attributes::policy)?;
        self.permissions.as_deref().map_or(Ok(()), attributes::permissions)?;
        self.rate_limits.as_deref().map_or(Ok(()), attributes::rate_limits)?;
        self.allowed_cidrs.as_deref().map_or(Ok(()), attributes::cidrs)
    }

    pub(super) fn apply(self, key: &mut Key) {
        let Self {
            name,
            scopes,
            metadata,
            rate_limit,
            allowed_cidrs,
            policy_overrides,
            permissions,
            rate_limits,
        } = self;
        set(&mut key.name, name);
        set(&mut key.scopes, scopes);
        set(&mut key.metadata, metadata);
        set(&mut key.rate_limit, rate_limit);
        set(&mut key.allowed_cidrs, allowed_cidrs);
        if let Some(policy) = policy_overrides {
            key.extras = attributes::with_policy(&key.extras, policy.as_ref());
        }
        if let Some(permissions) = permissions {
            key.extras = attributes::with_list(&key.extras, PERMISSIONS, &permissions);
        }
        if let Some(limits) = rate_limits {
            key.extras = attributes::with_list(&key.extras, RATE_LIMITS, &limits);
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl KeyStory {
    /// Changes a key's attributes.
    ///
    /// # Errors
    /// `invalid_request`, `not_found`, `failed_precondition`, `evidence_unavailable`.
    pub async fn update(
        &self,
        asker: &Asker,
        kind: KeyKind,
        key_id: &str,
        change: Change,
    ) -> Result<Key, Refusal> {
        change.checked()?;
        let decide = |mut key: Key| {
            change.clone().apply(&mut key);
            Ok(Some(key))
        };
        self.changed(asker, kind, key_id, Action::Updated, decide).await
    }

    /// Lets a key be used, or not for now.
    ///
    /// # Errors
    /// `not_found`, `failed_precondition`, `evidence_unavailable`.
    pub async fn set_enabled(
        &self,
        asker: &Asker,
        kind: KeyKind,
        key_id: &str,
        enabled: bool,
    ) -> Result<Key, Refusal> {
        let action = if enabled { Action::Enabled } else { Action::Disabled };
        let decide = |key: Key| Ok((key.enabled != enabled).then_some(Key { enabled, ..key }));
        self.changed(asker, kind, key_id, action, decide).await
    }

    /// Removes a key for good.
    ///
    /// # Errors
    /// `not_found`, `evidence_unavailable`.
    pub async fn delete(&self, asker: &Asker, kind: KeyKind, key_id: &str) -> Result<(), Refusal> {
        let key_id = KeyId::parse(key_id).map_err(|_| unknown_key(kind))?;
        let before = self.stored(asker, kind, &key_id).await?;
        let event = self.event(asker, Action::Deleted, &key_id, Some(&before), None);
        let deleted = self.0.parts.store.delete(asker.scope(), kind, key_id.clone(), event).await;
        let deleted = deleted.map_err(|fault| fault.refusal())?;
        self.forget(asker.tenant.nid, &key_id);
        if deleted { Ok(()) } else { Err(unknown_key(kind)) }
    }

    /// Reads a key, decides, and replaces it unless somebody else has changed it meanwhile; then once more. `decide`
    /// returns `None` when the key is as wanted already.
    pub(super) async fn changed(
        &self,
        asker: &Asker,
        kind: KeyKind,
        key_id: &str,
        action: Action,
        decide: impl Fn(Key) -> Result<Option<Key>, Refusal> + Send + Sync,
    ) -> Result<Key, Refusal> {
        let key_id = KeyId::parse(key_id).map_err(|_| unknown_key(kind))?;
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.stored(asker, kind, &key_id).await?;
            let Some(mut after) = decide(before.clone())? else { return Ok(before) };
            after.updated = self.0.parts.clock.now();
            let event = self.event(asker, action, &key_id, Some(&before), Some(&after));
            let store = &self.0.parts.store;
            let replaced = store.replace(asker.scope(), after.clone(), before.revision, event).await;
            let replaced = replaced.map_err(|fault| fault.refusal())?;
            self.forget(asker.tenant.nid, &key_id);
            if replaced {
                return Ok(Key { revision: before.revision + 1, ..after });
            }
        }
        Err(changed_too_often())
    }
}
