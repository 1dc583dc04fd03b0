//! Rotation of data keys: a new version seals from now on, and what the old one sealed is sealed anew, step by step.
//!
//! Prompts and answers stay under the version that sealed them; it is kept until the tenant is deleted.

use bh_domain::refusal::Refusal;
use bh_domain::tenant::{Nid, Scope, TenantId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::keys::{DataKey, scope, unreadable_key};
use super::secrets::sealed_anew;
use super::{TRIES_MAX, Vault, changed_too_often};
use crate::ports::{KeyRef, SecretRow};
use crate::tenants::Actor;

/// Secrets that are sealed anew in one transaction.
const STEP_SECRETS: u32 = 100;
/// Retiring keys of one look.
const STEP_KEYS: u32 = 100;

/// What a rotation of a data key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataKeyRotation {
    /// The version that seals from now on.
    pub key_version: u64,
    /// Secrets that were sealed anew.
    pub resealed: u64,
}

impl Vault {
    /// Gives a tenant a new data key, and seals its secrets with it. With a shared data key, that of all who share it.
    ///
    /// # Errors
    /// `tenant_not_found`; `evidence_unavailable`; `master_key_unknown`; `secret_unreadable` when the key before cannot be
    /// opened: the new one seals from now on all the same.
    pub async fn rotate_data_key(
        &self,
        by: &Actor,
        (nid, id): (Nid, &TenantId),
    ) -> Result<DataKeyRotation, Refusal> {
        let key = self.next_key(by, (nid, id)).await?;
        self.0.content_keys.remove(&nid);
        let mut resealed = self.gather(nid, &key).await?;
        let retiring = self.store().retiring_keys(scope(), Some(key.id.nid), STEP_KEYS).await;
        for older in retiring.map_err(|fault| fault.refusal())? {
            resealed += self.empty_key(older).await?;
        }
        Ok(DataKeyRotation { key_version: key.id.version, resealed })
    }

    /// Seals anew whatever rotations have left under older keys; how many secrets. Repeating it changes nothing. What cannot be
    /// opened is left, and told in the log.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn settle_retiring(&self) -> Result<u64, Refusal> {
        let retiring = self.store().retiring_keys(scope(), None, STEP_KEYS).await;
        let mut resealed = 0;
        for key in retiring.map_err(|fault| fault.refusal())? {
            match self.empty_key(key).await {
                Ok(secrets) => resealed += secrets,
                Err(refusal) => {
                    let reason = refusal.message;
                    tracing::warn!(nid = %key.nid, version = key.version, reason, "a retiring data key was not settled");
                }
            }
        }
        Ok(resealed)
    }

    async fn next_key(&self, by: &Actor, (nid, id): (Nid, &TenantId)) -> Result<DataKey, Refusal> {
        let owner = self.owner(nid);
        for _ in 0..TRIES_MAX {
            let newest = self.store().newest_key(scope(), owner).await.map_err(|fault| fault.refusal())?;
            let version = newest.map_or(0, |key| key.id.version) + 1;
            let detail = json!({ "keyVersion": version });
            let event = self.event(by, "secret.data_key_rotated", id.as_str(), &detail);
            let next = KeyRef { nid: owner, version };
            if let Some(key) = self.add_key(next, nid, Some(event)).await? {
                return Ok(key);
            }
        }
        Err(changed_too_often())
    }

    /// Seals anew what a retiring key seals. What cannot be opened stays, and so does the key.
    async fn empty_key(&self, from: KeyRef) -> Result<u64, Refusal> {
        let mut after: Option<(Nid, String)> = None;
        let mut resealed = 0;
        loop {
            let rows = self.store().secrets_of_key(scope(), from, after, STEP_SECRETS).await;
            let rows = rows.map_err(|fault| fault.refusal())?;
            let Some(last) = rows.last() else { break };
            after = Some((last.nid, last.name.clone()));
            resealed += self.reseal(rows, from).await?;
        }
        let retired = self.store().key_retired(scope(), from).await.map_err(|fault| fault.refusal())?;
        if !retired {
            tracing::warn!(nid = %from.nid, version = from.version, "a data key still seals secrets that cannot be opened");
        }
        Ok(resealed)
    }

    /// Brings a tenant's secrets under a key that others seal: the one before, one that a crash has left, or another owner's
    /// where the configuration has changed since.
    async fn gather(&self, tenant: Nid, key: &DataKey) -> Result<u64, Refusal> {
        let mut after = String::new();
        let mut resealed = 0;
        loop {
            let rows = self.store().secrets(Scope::tenant(tenant), after, STEP_SECRETS).await;
            let rows = rows.map_err(|fault| fault.refusal())?;
            let Some(last) = rows.last() else { return Ok(resealed) };
            after = last.name.clone();
            let mut left: Vec<SecretRow> = rows.into_iter().filter(|row| row.key != key.id).collect();
            while let Some(from) = left.first().map(|row| row.key) {
                let (of_it, others) = left.into_iter().partition(|row| row.key == from);
                resealed += self.reseal(of_it, from).await?;
                left = others;
            }
        }
    }

    /// Seals secrets anew, each with its tenant's current key, in one transaction; tried again when a key changes meanwhile.
    async fn reseal(&self, rows: Vec<SecretRow>, from: KeyRef) -> Result<u64, Refusal> {
        let stored = self.store().key(scope(), from).await.map_err(|fault| fault.refusal())?;
        let Some(stored) = stored else { return Ok(0) };
        let old = self.open_key(&stored)?.ok_or_else(|| unreadable_key(from))?;
        for _ in 0..TRIES_MAX {
            let mut anew = Vec::with_capacity(rows.len());
            let mut to: Option<(Nid, DataKey)> = None;
            for row in &rows {
                let key = match to.take() {
                    Some((nid, key)) if nid == row.nid => key,
                    Some(_) | None => match self.current_key(row.nid).await {
                        Ok(key) => key,
                        // A tenant that was deleted meanwhile has no secrets left.
                        Err(_) if self.is_without(row).await? => continue,
                        Err(refusal) => return Err(refusal),
                    },
                };
                anew.extend(sealed_anew(row, &old, &key)?);
                to = Some((row.nid, key));
            }
            let resealed = self.store().reseal(scope(), anew, from).await;
            if let Some(resealed) = resealed.map_err(|fault| fault.refusal())? {
                return Ok(resealed);
            }
        }
        Err(changed_too_often())
    }

    async fn is_without(&self, row: &SecretRow) -> Result<bool, Refusal> {
        let found = self.store().secret(Scope::tenant(row.nid), row.name.clone()).await;
        Ok(found.map_err(|fault| fault.refusal())?.is_none())
    }
}
