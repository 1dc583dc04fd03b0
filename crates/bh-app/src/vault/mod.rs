//! The sealed store: what tenants entrust to Bulkhead, each with a data key of its own, wrapped by the master key (issue 4
//! §1; seed 001, "Encrypt Tenant Data").
//!
//! [`Masters`] are the keys outside the database, [`RootKey`] is what the installation's own secrets are derived from, and
//! [`Vault`] is the story: secrets, data keys, and the rotation of both.

mod checks;
mod credentials;
mod keys;
mod masters;
mod name;
mod root;
mod rotate_data;
mod rotate_master;
mod seal;
mod secrets;

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use quick_cache::sync::Cache;
use serde_json::Value;

pub use checks::{Unreadable, VaultCheck};
pub use credentials::{AccessToken, Credentials, CredentialsView, Integration};
pub use keys::DataKey;
pub use masters::{MasterFault, MasterKey, MasterSource, Masters, Ring};
pub use name::SecretName;
pub use root::{RootKey, UnlockFault, unlock};
pub use rotate_data::DataKeyRotation;
pub use rotate_master::{MasterRotation, MasterStatus};
pub use seal::{Place, SealingKey, derived};
pub use secrets::{SECRET_BYTES_MAX, SECRETS_MAX, SecretView};

use crate::audit::Doer;
use crate::content::ContentSealer;
use crate::ports::{AuditEvent, AuditStore, Clock, VaultStore};
use crate::tenants::Actor;

/// Data keys for prompts that are kept in memory.
const CONTENT_KEYS_MAX: usize = 10_000;
/// How often something is decided anew because somebody else changed a key meanwhile.
const TRIES_MAX: usize = 8;

/// What the story is built from.
pub struct VaultParts {
    /// Wrapped keys and sealed secrets.
    pub store: Arc<dyn VaultStore>,
    /// What wraps the keys.
    pub masters: Arc<Masters>,
    /// Where it is noted who did what.
    pub audit: Arc<dyn AuditStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether each tenant has a data key of its own (`multiTenant.isolation.separateVaultKeys`).
    pub separate_keys: bool,
    /// Opens prompts from before tenants had data keys.
    pub old_content: ContentSealer,
}

impl std::fmt::Debug for VaultParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultParts").finish_non_exhaustive()
    }
}

/// Seals what tenants entrust to Bulkhead.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: VaultParts,
    /// One rotation of the master key at a time.
    rotating: tokio::sync::Mutex<()>,
    /// Data keys for prompts, and until when each is used without asking the store.
    content_keys: Cache<Nid, (Arc<DataKey>, u64)>,
}

impl Vault {
    /// The story, from its parts.
    #[must_use]
    pub fn new(parts: VaultParts) -> Self {
        let content_keys = Cache::new(CONTENT_KEYS_MAX);
        Self(Arc::new(Inner { parts, rotating: tokio::sync::Mutex::default(), content_keys }))
    }

    fn store(&self) -> &dyn VaultStore {
        self.0.parts.store.as_ref()
    }

    /// Whose data key seals what is this tenant's.
    fn owner(&self, tenant: Nid) -> Nid {
        if self.0.parts.separate_keys { tenant } else { Nid::SYSTEM }
    }

    fn event(&self, by: &Actor, action: &str, object: &str, detail: &Value) -> AuditEvent {
        let by = Doer { name: &by.name, role: by.role, origin: &by.origin };
        by.event(self.0.parts.clock.as_ref(), action, object, detail)
    }
}

fn no_randomness() -> Refusal {
    tracing::error!("the machine has no randomness left to seal with");
    Refusal::new(Code::Internal, "Nothing can be sealed right now")
}

/// What is said to whoever acts on a tenant that was deleted meanwhile.
fn gone() -> Refusal {
    Refusal::new(Code::TenantNotFound, "No such tenant")
}

fn changed_too_often() -> Refusal {
    Refusal::new(Code::Conflict, "Others kept changing the keys; try again").retry_after(1)
}

/// A refusal that names a master key which this process does not have.
fn locked(master_id: &str) -> Refusal {
    tracing::error!(master_key = master_id, "a master key that is in use is not known here");
    let message = format!(
        "This gateway does not have the master key `{master_id}`: give it in `secrets.master_key` or \
         `secrets.master_keys_retired`"
    );
    Refusal::new(Code::MasterKeyUnknown, message).with("masterKey", master_id)
}
