//! Rotation of the master key, while everybody goes on: the root key is wrapped by the new one, which puts it in force, then
//! all data keys, step by step. Whatever ends it, asking again goes on where it was.

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::keys::{scope, unreadable_key};
use super::masters::{MasterFault, MasterKey, Ring};
use super::{Vault, changed_too_often, locked, no_randomness};
use crate::ports::{KeyRef, WrappedKey};
use crate::tenants::Actor;

/// Keys that are wrapped anew in one transaction.
const STEP_KEYS: u32 = 200;

/// What a rotation of the master key did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterRotation {
    /// The master key in force.
    pub master_key: String,
    /// The one that was in force before this, if that was another.
    pub previous: Option<String>,
    /// Keys that were wrapped anew, the root key among them.
    pub rewrapped: u64,
    /// Keys that were opened with the master key in force: all there are.
    pub verified: u64,
    /// Older master keys that are still known here. None of them wraps anything any more.
    pub retired: Vec<String>,
}

/// Which master keys there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterStatus {
    /// The one in force, by its id.
    pub in_force: String,
    /// The one that this gateway would put in force.
    pub current: String,
    /// Others that it knows.
    pub retired: Vec<String>,
    /// Where the current one is from: `configuration` or `file`.
    pub source: &'static str,
}

impl Vault {
    /// Which master keys there are, as this process knows them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn master_status(&self) -> Result<MasterStatus, Refusal> {
        let ring = self.refreshed()?;
        Ok(MasterStatus {
            in_force: self.root_row().await?.master_id,
            current: ring.current.id().to_owned(),
            retired: ids(&ring),
            source: if ring.configured { "configuration" } else { "file" },
        })
    }

    /// Puts the current master key in force, or a new one where it is that already and nothing is left to do, and wraps
    /// every key by it.
    ///
    /// # Errors
    /// `failed_precondition` where the configuration has to name a new one first; `master_key_unknown`;
    /// `secret_unreadable`; those of the store.
    pub async fn rotate_master(&self, by: &Actor) -> Result<MasterRotation, Refusal> {
        let _turn = self.0.rotating.lock().await;
        let root = self.root_row().await?;
        let mut ring = self.refreshed()?;
        if ring.current.id() == root.master_id && !self.unfinished(&ring).await? {
            let renewed = self.0.parts.masters.renew(&root.master_id);
            ring = renewed.map_err(|fault| Self::not_renewed(&fault, &root.master_id))?;
        }
        let target = Arc::clone(&ring.current);
        let previous = (root.master_id != target.id()).then(|| root.master_id.clone());
        let mut rewrapped = 0;
        if previous.is_some() {
            self.put_in_force(by, &root, &target).await?;
            rewrapped += 1;
        }
        rewrapped += self.rewrap_all(&ring).await?;
        let verified = self.verify_keys(&target).await?;
        Ok(MasterRotation {
            master_key: target.id().to_owned(),
            previous,
            rewrapped,
            verified,
            retired: ids(&ring),
        })
    }

    /// Forgets older master keys, once nothing is wrapped by any of them.
    ///
    /// # Errors
    /// `failed_precondition` while something is, or where the configuration names them; those of the store.
    pub async fn finish_master_rotation(&self, by: &Actor) -> Result<MasterRotation, Refusal> {
        let _turn = self.0.rotating.lock().await;
        let root = self.root_row().await?;
        let ring = self.refreshed()?;
        if ring.current.id() != root.master_id || self.unfinished(&ring).await? {
            let message = "The rotation of the master key is not done: rotate it first, then finish";
            return Err(Refusal::new(Code::FailedPrecondition, message));
        }
        let verified = self.verify_keys(&ring.current).await?;
        let kept = self.0.parts.masters.forget_retired(&root.master_id);
        let forgotten = ids(&ring);
        let ring = kept.map_err(|fault| Self::not_forgotten(&fault, &ring))?;
        self.note_forgotten(by, &forgotten).await?;
        let master_key = ring.current.id().to_owned();
        Ok(MasterRotation { master_key, previous: None, rewrapped: 0, verified, retired: ids(&ring) })
    }

    async fn note_forgotten(&self, by: &Actor, forgotten: &[String]) -> Result<(), Refusal> {
        if forgotten.is_empty() {
            return Ok(());
        }
        let detail = json!({ "forgotten": forgotten });
        let event = self.event(by, "secret.master_keys_forgotten", "master key", &detail);
        let noted = self.0.parts.audit.append_audit_events(scope(), vec![(Nid::SYSTEM, event)]).await;
        noted.map_err(|fault| fault.refusal())
    }

    fn refreshed(&self) -> Result<Arc<Ring>, Refusal> {
        self.0.parts.masters.refresh().map_err(|fault| failed(&fault))
    }

    /// Whether older keys that are known here still wrap something.
    async fn unfinished(&self, ring: &Ring) -> Result<bool, Refusal> {
        for old in others(ring) {
            let left = self.store().keys_of_master(scope(), old.id().to_owned(), 1).await;
            if !left.map_err(|fault| fault.refusal())?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn put_in_force(&self, by: &Actor, root: &WrappedKey, target: &MasterKey) -> Result<(), Refusal> {
        let row = self.wrapped_anew(root, target)?.ok_or_else(|| unreadable_key(KeyRef::ROOT))?;
        let detail = json!({ "from": root.master_id, "to": target.id() });
        let event = self.event(by, "secret.master_key_rotated", "master key", &detail);
        let moved = self.store().rewrap_root(scope(), row, root.master_id.clone(), event).await;
        if moved.map_err(|fault| fault.refusal())? { Ok(()) } else { Err(changed_too_often()) }
    }

    /// Wraps by the current key whatever an older one still wraps.
    async fn rewrap_all(&self, ring: &Ring) -> Result<u64, Refusal> {
        let mut rewrapped = 0;
        for old in others(ring) {
            loop {
                let rows = self.store().keys_of_master(scope(), old.id().to_owned(), STEP_KEYS).await;
                let rows = rows.map_err(|fault| fault.refusal())?;
                if rows.is_empty() {
                    break;
                }
                let mut anew = Vec::with_capacity(rows.len());
                for row in &rows {
                    let row = self.wrapped_anew(row, &ring.current)?.ok_or_else(|| unreadable_key(row.id))?;
                    anew.push(row);
                }
                let changed = self.store().rewrap(scope(), anew, old.id().to_owned()).await;
                // `None`: another process has put yet another master key in force.
                rewrapped += changed.map_err(|fault| fault.refusal())?.ok_or_else(changed_too_often)?;
            }
        }
        Ok(rewrapped)
    }

    fn wrapped_anew(&self, row: &WrappedKey, target: &MasterKey) -> Result<Option<WrappedKey>, Refusal> {
        let Some(key) = self.open_key(row)? else { return Ok(None) };
        let wrapped = target.wrap((row.id, row.state), &key.key, row.created);
        wrapped.map(Some).ok_or_else(no_randomness)
    }

    /// Opens every key with the master key in force; how many there are.
    async fn verify_keys(&self, master: &MasterKey) -> Result<u64, Refusal> {
        let (mut after, mut verified) = (None, 0);
        loop {
            let rows = self.store().keys_after(scope(), after, STEP_KEYS).await;
            let rows = rows.map_err(|fault| fault.refusal())?;
            let Some(last) = rows.last() else { return Ok(verified) };
            after = Some(last.id);
            for row in &rows {
                if row.master_id != master.id() {
                    return Err(locked(&row.master_id));
                }
                master.unwrap(row).ok_or_else(|| unreadable_key(row.id))?;
                verified += 1;
            }
        }
    }

    fn not_renewed(fault: &MasterFault, in_force: &str) -> Refusal {
        match fault {
            MasterFault::Configured => {
                let message = "The configuration gives the master key, and it is in force: on every gateway, give a new one in \
                     `secrets.master_key` and the one before in `secrets.master_keys_retired`, then rotate";
                Refusal::new(Code::FailedPrecondition, message).with("masterKey", in_force)
            }
            MasterFault::TooMany => {
                let message =
                    "As many older master keys are kept as may be: finish the rotations before (`--finish`)";
                Refusal::new(Code::FailedPrecondition, message)
            }
            MasterFault::Failed(_) => failed(fault),
        }
    }

    fn not_forgotten(fault: &MasterFault, ring: &Ring) -> Refusal {
        match fault {
            MasterFault::Configured => {
                let message = "Nothing is wrapped by an older master key any more: take `secrets.master_keys_retired` out of \
                     the configuration of every gateway";
                Refusal::new(Code::FailedPrecondition, message).with("retired", ids(ring).join(" "))
            }
            MasterFault::TooMany | MasterFault::Failed(_) => failed(fault),
        }
    }
}

fn others(ring: &Ring) -> impl Iterator<Item = &Arc<MasterKey>> {
    ring.retired.iter().filter(|old| old.id() != ring.current.id())
}

fn ids(ring: &Ring) -> Vec<String> {
    others(ring).map(|master| master.id().to_owned()).collect()
}

fn failed(fault: &MasterFault) -> Refusal {
    tracing::error!(error = fault as &dyn std::error::Error, "the master keys cannot be read or written");
    Refusal::new(Code::Internal, "The master keys cannot be read or written: the log says why")
}
