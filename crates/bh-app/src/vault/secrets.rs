//! Tenants' secrets: stored sealed, told of by name, opened for whoever uses them.

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use schemars::JsonSchema;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::keys::{DataKey, scope};
use super::seal::Place;
use super::{SecretName, TRIES_MAX, Vault, changed_too_often, gone, no_randomness};
use crate::ports::{KeyRef, SecretRow, SecretStored};
use crate::tenants::Actor;

/// The largest secret.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Secrets of one tenant.
pub const SECRETS_MAX: u64 = 1_000;

/// A secret as it is told of: never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// What was said of it when it was stored.
    pub metadata: Map<String, Value>,
    /// Version of the data key that seals it.
    pub key_version: u64,
    /// How often it was stored.
    pub revision: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

impl SecretView {
    pub(super) fn of(row: &SecretRow) -> Self {
        Self {
            name: row.name.clone(),
            metadata: serde_json::from_str(&row.metadata).unwrap_or_default(),
            key_version: row.key.version,
            revision: row.revision,
            created_at: row.created.rfc3339(),
            updated_at: row.updated.rfc3339(),
        }
    }
}

impl Vault {
    /// Stores a secret, in place of an older one of that name; whether there was none.
    ///
    /// # Errors
    /// `invalid_request` for one that is empty or too large; `quota_exceeded`; `tenant_not_found`; `evidence_unavailable`;
    /// `master_key_unknown`.
    pub async fn put(
        &self,
        by: &Actor,
        tenant: Nid,
        name: &SecretName,
        value: &[u8],
        metadata: &Map<String, Value>,
    ) -> Result<bool, Refusal> {
        if value.is_empty() || value.len() > SECRET_BYTES_MAX {
            let message = format!("A secret must have 1 to {SECRET_BYTES_MAX} bytes");
            return Err(Refusal::new(Code::InvalidRequest, message).with("field", "value"));
        }
        for _ in 0..TRIES_MAX {
            let key = self.current_key(tenant).await?;
            let now = self.0.parts.clock.now();
            let row = sealed_row((tenant, name.as_str()), &key, value, metadata, now)?;
            let event =
                self.event(by, "secret.stored", name.as_str(), &json!({ "keyVersion": key.id.version }));
            let stored = self.store().put_secret(Scope::tenant(tenant), row, SECRETS_MAX, event).await;
            match stored.map_err(|fault| fault.refusal())? {
                SecretStored::Created => return Ok(true),
                SecretStored::Replaced => return Ok(false),
                SecretStored::KeyRetired => {}
                SecretStored::TenantGone => return Err(gone()),
                SecretStored::Full => return Err(full()),
            }
        }
        Err(changed_too_often())
    }

    /// What is told of a secret. It is opened first: what is shown can be read.
    ///
    /// # Errors
    /// `not_found`; `secret_unreadable`; those of the store.
    pub async fn view(&self, tenant: Nid, name: &SecretName) -> Result<SecretView, Refusal> {
        let row = self.row(tenant, name).await?;
        self.open_row(&row).await?;
        Ok(SecretView::of(&row))
    }

    /// A secret's value, for the one place that uses it.
    ///
    /// # Errors
    /// As [`Vault::view`].
    pub async fn value(&self, tenant: Nid, name: &SecretName) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let row = self.row(tenant, name).await?;
        self.open_row(&row).await
    }

    /// A tenant's secrets by name, after one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, tenant: Nid, after: &str, limit: u32) -> Result<Vec<SecretView>, Refusal> {
        let rows = self.store().secrets(Scope::tenant(tenant), after.to_owned(), limit).await;
        Ok(rows.map_err(|fault| fault.refusal())?.iter().map(SecretView::of).collect())
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// `not_found`; those of the store.
    pub async fn delete(&self, by: &Actor, tenant: Nid, name: &SecretName) -> Result<(), Refusal> {
        let event = self.event(by, "secret.deleted", name.as_str(), &json!({}));
        let scope = Scope::tenant(tenant);
        let deleted = self.store().delete_secret(scope, name.as_str().to_owned(), event).await;
        if deleted.map_err(|fault| fault.refusal())? { Ok(()) } else { Err(unknown(name.as_str())) }
    }

    pub(super) async fn row(&self, nid: Nid, name: &SecretName) -> Result<SecretRow, Refusal> {
        let found = self.store().secret(Scope::tenant(nid), name.as_str().to_owned()).await;
        found.map_err(|fault| fault.refusal())?.ok_or_else(|| unknown(name.as_str()))
    }

    pub(super) async fn open_row(&self, row: &SecretRow) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let stored = self.store().key(scope(), row.key).await.map_err(|fault| fault.refusal())?;
        let key = match &stored {
            Some(stored) => self.open_key(stored)?,
            None => None,
        };
        key.and_then(|key| opened(row, &key)).ok_or_else(|| unreadable(row))
    }
}

/// A secret, sealed for where it belongs.
pub(super) fn sealed_row(
    (nid, name): (Nid, &str),
    key: &DataKey,
    value: &[u8],
    metadata: &Map<String, Value>,
    now: Timestamp,
) -> Result<SecretRow, Refusal> {
    Ok(SecretRow {
        nid,
        name: name.to_owned(),
        key: key.id,
        sealed: key.key.seal(&place(nid, name, key.id), value).ok_or_else(no_randomness)?,
        metadata: Value::Object(metadata.clone()).to_string(),
        created: now,
        updated: now,
        revision: 1,
    })
}

/// The same secret under another key; `None` when it is not what was stored.
pub(super) fn sealed_anew(
    row: &SecretRow,
    from: &DataKey,
    to: &DataKey,
) -> Result<Option<SecretRow>, Refusal> {
    let Some(value) = opened(row, from) else { return Ok(None) };
    let sealed = to.key.seal(&place(row.nid, &row.name, to.id), &value).ok_or_else(no_randomness)?;
    Ok(Some(SecretRow { key: to.id, sealed, ..row.clone() }))
}

/// The value; `None` when it was changed, or moved from another tenant or name.
pub(super) fn opened(row: &SecretRow, key: &DataKey) -> Option<Zeroizing<Vec<u8>>> {
    key.key.open(&place(row.nid, &row.name, key.id), &row.sealed)
}

fn place(nid: Nid, name: &str, key: KeyRef) -> Place {
    Place::of(&[&"secret", &nid, &name, &key.nid, &key.version])
}

fn unknown(name: &str) -> Refusal {
    Refusal::new(Code::NotFound, "The tenant has no such secret").with("name", name)
}

fn unreadable(row: &SecretRow) -> Refusal {
    tracing::error!(nid = %row.nid, name = row.name, "a stored secret is not what was stored");
    let message = "The secret in the store is not what was stored there: store it anew";
    Refusal::new(Code::SecretUnreadable, message).with("name", row.name.clone())
}

fn full() -> Refusal {
    let message = format!("The tenant has {SECRETS_MAX} secrets, which is as many as it may have");
    let refusal = Refusal::new(Code::QuotaExceeded, message);
    refusal.with("used", SECRETS_MAX.to_string()).with("limit", SECRETS_MAX.to_string())
}
