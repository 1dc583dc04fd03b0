//! Whom a key from memory belongs to.

use std::sync::Arc;

use bh_domain::keys::key::Key;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::cache::{ANY, IdentityRow, Lookup};
use crate::keys::KeyStory;
use crate::keys::rows::{FoundKey, Row};
use crate::keys::verdict::Denied;
use crate::ports::StoreFault;
use crate::snapshot::CacheSettings;

/// Where the identity of a key is looked for; `None` for one that belongs to nobody.
pub(in crate::keys) fn lookup<'k>(
    nid: Nid,
    key: &'k Key,
    cache: &CacheSettings,
    now: Timestamp,
) -> Option<Lookup<'k>> {
    let external_id = key.actor_id.as_deref().filter(|actor| !actor.is_empty())?;
    Some(Lookup { nid, external_id, now, until: cache.kept_until(now) })
}

impl KeyStory {
    /// A key from memory, with the identity that it belongs to: from memory, or from one read.
    pub(in crate::keys) async fn with_identity(
        &self,
        nid: Nid,
        row: Arc<Row>,
        cache: &CacheSettings,
        now: Timestamp,
    ) -> Result<FoundKey, Denied> {
        let Some(lookup) = lookup(nid, &row.key, cache, now) else {
            return Ok(FoundKey { row, identity: None });
        };
        match self.belongs_to(lookup).await {
            Ok(identity) => Ok(FoundKey { row: Arc::clone(&row), identity }),
            Err(fault) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "an identity was not read");
                Err(Denied::because(VerificationError::Internal))
            }
        }
    }

    /// The identity that is looked for. A tenant that has none at all is asked about once, and not for each actor: rows
    /// that come from shared memory do not cost it a read each.
    async fn belongs_to(&self, lookup: Lookup<'_>) -> Result<Option<Arc<IdentityRow>>, StoreFault> {
        let (identities, store) = (&self.0.identities, &self.0.parts.identities);
        if let Some(known) = identities.known(lookup) {
            return Ok(known);
        }
        let scope = || Scope::tenant(lookup.nid);
        let any = async {
            self.0.parts.metrics.keys.identity_reads.inc();
            Ok(store.identities(scope(), None, 1).await?.pop())
        };
        if identities.known_or_read(Lookup { external_id: ANY, ..lookup }, any).await?.is_none() {
            return Ok(None);
        }
        let called = async {
            self.0.parts.metrics.keys.identity_reads.inc();
            store.identity_called(scope(), lookup.external_id.to_owned()).await
        };
        identities.known_or_read(lookup, called).await
    }
}
