//! What the stories need from outside, as traits. bh-store and bh-adapters implement them; bh-http never sees them.

mod audit;
mod evidence;
mod identities;
mod keyless;
mod keys;
mod money;
mod outbox;
mod outside;
mod profiles;
mod shared;
mod tools;
mod usage;
mod vault;

pub use audit::{Anchor, AnchorStore, AuditEvent, AuditStore, EVENT_ID_SKEW_MS, TrailOrder};
pub use evidence::{
    Appended, Batch, Checkpoint, Columns, ContentRow, EvidenceFilter, EvidenceStore, HeadUpdate, NodeRow,
    Position, Purge, RecordRow, StoredContent, StoredHead, StoredRecord,
};
pub use identities::IdentityStore;
pub use keyless::{KeylessCaller, KeylessStore};
pub use keys::{
    CreditsChange, CreditsDue, CreditsWanted, Denial, INSERT_MANY_MAX, Inserted, KeyChange, KeyChanges,
    KeyFilter, KeyStore, KeyUse,
};
pub use money::{
    BudgetStore, BudgetWindow, Change, ChangeId, Figures, Grant, Holder, LeaseRequest, Settled, SpendDelta,
    SpendQuery,
};
pub use outbox::{
    AttemptEnd, Backlog, DeliveryState, EndpointCounts, OutboxEvent, OutboxFilter, OutboxPlace, OutboxStore,
    StoredDelivery, StoredEvent, TakenDelivery,
};
pub use outside::{
    Attempt, CallerBodyBroken, Clock, Connections, Entropy, ProviderBody, ProviderRequest, ProviderResponse,
    SendFault, SendFaultKind, SystemClock, SystemEntropy, TenantRow, TenantStore, Tokenizer, Upstream,
};
pub use profiles::{KeyTurn, Made, ProfileStore, Replaced};
pub use shared::{SharedCounts, SharedFault, SharedLimit, SharedMemory, SharedResult};
pub use tools::{QuotaPeriod, ServerRow, ServerStored, ToolRow, ToolStore};
pub use usage::{ModelDay, TenantUsage, UsageDays, UsageDelta, UsageKey, UsageStore, UsageSums};
pub use vault::{KeyAdded, KeyRef, KeyState, SecretRow, SecretStored, StoredRoot, VaultStore, WrappedKey};

use std::fmt;

use bh_domain::refusal::{Code, Refusal};
pub use futures_util::future::BoxFuture;

/// Why the store could not do its part. Logged where it is handled, never shown to a caller.
#[derive(Debug)]
pub struct StoreFault {
    /// The step that failed, as a phrase: "append evidence".
    pub step: &'static str,
    /// The database's own error.
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.step)
    }
}

impl std::error::Error for StoreFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

impl StoreFault {
    /// What a caller is told: the log has the cause.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        tracing::error!(error = self as &dyn std::error::Error, "the store did not answer");
        let (code, message) = if self.cause.is::<Overdue>() {
            (Code::StoreTimeout, "The store did not answer in its time; try again")
        } else {
            (Code::EvidenceUnavailable, "The store does not answer right now; try again")
        };
        Refusal::new(code, message).retry_after(1)
    }
}

/// The cause of a fault that is only that the store's time ran out: it lives, and is busy or held up.
#[derive(Debug, thiserror::Error)]
#[error("its time ran out")]
pub struct Overdue(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A store call's answer.
pub type StoreResult<T> = BoxFuture<'static, Result<T, StoreFault>>;

/// The whole store, as one object.
pub trait Store: EvidenceStore + BudgetStore + TenantStore {}

impl<S: EvidenceStore + BudgetStore + TenantStore> Store for S {}
