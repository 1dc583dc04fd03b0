//! The API-key server: issue, verify, update, rotate, revoke, import, derive (seed 003, Talos dossier).
//!
//! Changes are read, decided and written in one place each; a write names the revision it was decided on, and is decided
//! anew when somebody else was faster. Verification reads memory first (`rows`), and what it reads there is never older
//! than the last change this process knows of.

mod adopt;
mod again;
mod attributes;
mod change;
mod counting;
mod credits;
mod derive;
mod fences;
mod holder;
mod house;
mod identities;
mod import;
mod issue;
mod list;
mod page;
mod reads;
mod revoke;
mod rotate;
mod rows;
mod shared;
mod tokens;
mod trail;
mod uses;
mod verdict;
mod verify;
mod whereabouts;

use std::sync::Arc;
use std::time::Duration;

use bh_domain::keys::imported::ImportHasher;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use uuid::Uuid;

pub(crate) use again::{REPEATED_WITHIN_MS, used_up};
pub use attributes::{Attributes, EXTRAS_BYTES_MAX, METADATA_BYTES_MAX, policy_overrides, policy_text};
pub use change::Change;
pub use counting::{LimitTold, LimitUse};
pub use credits::CreditsTold;
pub use derive::{Derivation, Derived, TokenForm};
pub use house::TokenSeeds;
pub use identities::{IdentityChange, IdentityPage, IdentityRow, NewIdentity};
pub use import::{IMPORTS_MAX, Import, ImportFault, ImportFaultKind, Material};
pub use issue::{Issue, IssuedKey};
pub(crate) use list::page_size;
pub use list::{KeyPage, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
pub(crate) use page::PageList;
pub use revoke::{Revoke, SelfRevoke};
pub use rotate::{Rotate, RotatedKey};
pub(crate) use rows::FoundKey;
pub use rows::Row;
pub use shared::SharedParts;
pub use tokens::TokenSubject;
pub use verdict::{CacheUse, Denied, Freshness, Subject, Verdict};
pub use verify::{BATCH_VERIFY_MAX, Needs, Question};

use crate::audit::{AuditTrail, Provenance};
use crate::metrics::Metrics;
use crate::ports::{Clock, Denial, Entropy, IdentityStore, KeyChange, KeyStore, ProfileStore};
use crate::snapshot::Tenant;
use crate::webhooks::Outbox;

/// How often a change is decided anew because somebody else changed the key meanwhile.
const CHANGE_TRIES_MAX: usize = 8;
/// Between attempts to learn what was missed.
const CATCH_UP_RETRY: Duration = Duration::from_millis(500);

/// What the key server is built from.
#[derive(Clone)]
pub struct KeyParts {
    /// Rows.
    pub store: Arc<dyn KeyStore>,
    /// Whom keys belong to.
    pub identities: Arc<dyn IdentityStore>,
    /// Whose issued keys are.
    pub owners: Arc<dyn ProfileStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Names imported keys.
    pub hasher: ImportHasher,
    /// Signing keys of tenants that have none configured.
    pub seeds: TokenSeeds,
    /// What changes nothing and is audited all the same.
    pub trail: AuditTrail,
    /// Tells webhooks of changes.
    pub outbox: Outbox,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl std::fmt::Debug for KeyParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyParts").finish_non_exhaustive()
    }
}

/// The API-key server.
#[derive(Clone)]
pub struct KeyStory(Arc<Inner>);

struct Inner {
    parts: KeyParts,
    houses: house::Houses,
    rows: rows::Rows,
    identities: identities::Identities,
    reads: reads::Reads<reads::KeyRows>,
    whereabouts: whereabouts::Whereabouts,
    uses: uses::Uses,
    denials: tokens::Denials,
    proven: tokens::ProvenTokens,
    limits: counting::KeyLimits,
    /// Memory that replicas share.
    shared: Option<Arc<shared::SharedRows>>,
}

impl std::fmt::Debug for KeyStory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStory").finish_non_exhaustive()
    }
}

/// Who asks for something, and in whose tenant.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The tenant whose keys are meant.
    pub tenant: Arc<Tenant>,
    /// Who, for the audit log.
    pub actor: String,
    /// In which role.
    pub role: &'static str,
    /// Where the request came from.
    pub origin: Arc<Provenance>,
}

impl Asker {
    fn scope(&self) -> Scope {
        Scope::tenant(self.tenant.nid)
    }
}

impl KeyStory {
    /// A key server. [`KeyStory::run`] does what it has to do beside requests.
    #[must_use]
    pub fn new(parts: KeyParts) -> Self {
        Self::with_shared(parts, None)
    }

    /// The same, with memory that replicas share, for tenants that want it.
    #[must_use]
    pub fn with_shared(parts: KeyParts, shared: Option<SharedParts>) -> Self {
        let metrics = Arc::clone(&parts.metrics);
        let houses = house::Houses::new(parts.seeds.clone(), Arc::clone(&metrics), Arc::clone(&parts.clock));
        let reads = reads::Reads::new(reads::KeyRows(Arc::clone(&parts.store)), Arc::clone(&metrics));
        let whereabouts = whereabouts::Whereabouts::new(Arc::clone(&parts.owners), metrics);
        Self(Arc::new(Inner {
            houses,
            rows: rows::Rows::new(shared.is_some()),
            identities: identities::Identities::default(),
            reads,
            whereabouts,
            uses: uses::Uses::default(),
            denials: tokens::Denials::default(),
            proven: tokens::ProvenTokens::default(),
            limits: counting::KeyLimits::default(),
            shared: shared.map(|shared| {
                shared::SharedRows::new(shared, Arc::clone(&parts.clock), Arc::clone(&parts.metrics))
            }),
            parts,
        }))
    }

    /// One key.
    ///
    /// # Errors
    /// `not_found`, also for another tenant's; `evidence_unavailable` when the store does not answer.
    pub async fn get(&self, asker: &Asker, kind: KeyKind, key_id: &str) -> Result<Key, Refusal> {
        let key_id = KeyId::parse(key_id).map_err(|_| unknown_key(kind))?;
        self.stored(asker, kind, &key_id).await
    }

    async fn stored(&self, asker: &Asker, kind: KeyKind, key_id: &KeyId) -> Result<Key, Refusal> {
        let found = self.0.parts.store.keys(asker.scope(), kind, vec![key_id.clone()]).await;
        found.map_err(|fault| fault.refusal())?.pop().ok_or_else(|| unknown_key(kind))
    }

    /// Reads keys for requests that wait for them, for as long as it is polled. One task runs this.
    pub async fn run_reads(&self) {
        futures_util::future::join(self.0.reads.run(), self.0.whereabouts.reads.run()).await;
    }

    /// Follows what this process and others change, until the store is closed. One task runs this.
    pub async fn follow_changes(&self) {
        let mut changes = self.0.parts.store.key_changes();
        while let Some(change) = changes.next().await {
            match change {
                KeyChange::Made { nid, key_id } => self.0.rows.appeared(nid, &key_id),
                KeyChange::Key { nid, key_id } => self.0.rows.evict(nid, &key_id),
                KeyChange::Denied(Denial { nid, subject, until }) => self.0.denials.add(nid, subject, until),
                KeyChange::Tenant(nid) => self.0.rows.evict_tenant(nid),
                KeyChange::Identity { nid, external_id } => self.0.identities.evict(nid, &external_id),
                // Keys do not change with their tenant.
                KeyChange::Profile(_) => {}
                KeyChange::Deaf => self.distrust(),
                KeyChange::Everything => self.catch_up().await,
            }
        }
    }

    /// Learns what may have been missed; memory is believed again when that is done.
    async fn catch_up(&self) {
        self.distrust();
        // The log has the cause. What changes meanwhile waits, and is heard before anything else.
        while self.read_denials().await.is_err() || self.read_fences().await.is_err() {
            tokio::time::sleep(CATCH_UP_RETRY).await;
        }
        self.0.rows.hear();
    }

    /// Changes may be missed from now on: nothing that is remembered is believed.
    fn distrust(&self) {
        self.0.rows.distrust();
        self.0.identities.clear();
    }

    /// What is told of the audit trail beside changes; somebody must see to it that it is written.
    #[must_use]
    pub fn trail(&self) -> AuditTrail {
        self.0.parts.trail.clone()
    }

    /// Forgets a key that was changed here.
    fn forget(&self, nid: Nid, key_id: &KeyId) {
        self.0.rows.evict(nid, key_id);
        if let Some(shared) = &self.0.shared {
            shared.forget(nid, key_id);
        }
    }

    /// Follows the news in shared memory, for as long as it is polled. The store's own news are what counts; these may
    /// come sooner, and may be lost. One task runs this.
    pub async fn follow_shared(&self) {
        let Some(shared) = &self.0.shared else { return };
        loop {
            let story = self.clone();
            shared.listen(move |nid, key_id| story.0.rows.evict(nid, &key_id)).await;
            tokio::time::sleep(CATCH_UP_RETRY).await;
        }
    }

    /// Waits until changes are heard and memory can be believed, at most so long. To be done before the first request:
    /// every credential is read from the store until then, and tokens that were denied before are not known to be.
    pub async fn ready_within(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.0.rows.hearing()).await.is_ok()
    }

    fn new_uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.parts.entropy.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

fn unknown_key(kind: KeyKind) -> Refusal {
    let message = match kind {
        KeyKind::Issued => "API key not found",
        KeyKind::Imported => "imported key not found",
    };
    Refusal::new(Code::NotFound, message)
}

fn changed_too_often() -> Refusal {
    let message = "The key was changed by others again and again while this change was made; try again";
    Refusal::new(Code::FailedPrecondition, message)
}

fn invalid(field: &str, problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("`{field}`: {problem}")).with("field", field)
}

fn internal(step: &'static str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "could not {step}");
    Refusal::new(Code::Internal, "Something went wrong inside the gateway; its log has the cause")
}
