//! Whose key it is that is shown, where neither host nor header says so.
//!
//! An issued key has an id of its own, and the store knows whose it is. That never changes, so what was found is kept. What
//! was not found is not, and is read at the beat of [`super::reads`]: made-up keys cost a bounded number of reads.

use std::collections::HashMap;
use std::sync::Arc;

use bh_domain::keys::format::IssuedKey;
use bh_domain::keys::key::KeyId;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::KeyStory;
use super::reads::{Reads, Source, Unread};
use crate::metrics::Metrics;
use crate::ports::{BoxFuture, ProfileStore, StoreFault};

/// Keys whose tenants are remembered; those that are used least go first.
const KEPT_MAX: usize = 200_000;

/// The store's own knowledge of it.
pub(super) struct Owners(Arc<dyn ProfileStore>);

impl Source for Owners {
    type Place = ();
    type Found = Nid;

    fn read(&self, (): (), ids: Vec<KeyId>) -> BoxFuture<'static, Result<HashMap<KeyId, Nid>, StoreFault>> {
        let read = self.0.owners_of_keys(Scope::system("whose key is shown"), ids);
        Box::pin(async move { read.await.map(|found| found.into_iter().collect()) })
    }
}

/// Whose issued keys are.
pub(super) struct Whereabouts {
    kept: Cache<Uuid, Nid>,
    pub(super) reads: Reads<Owners>,
}

impl Whereabouts {
    pub(super) fn new(store: Arc<dyn ProfileStore>, metrics: Arc<Metrics>) -> Self {
        Self { kept: Cache::new(KEPT_MAX), reads: Reads::new(Owners(store), metrics) }
    }
}

impl KeyStory {
    /// The tenant whose issued key this seems to be: nothing is proven by it. `None` for a text of another form, and for a
    /// key that nobody has.
    ///
    /// # Errors
    /// `evidence_unavailable` when the store does not answer: whose it is cannot be told then.
    pub(crate) async fn tenant_of_key(&self, credential: &str) -> Result<Option<Nid>, Refusal> {
        let Some(key) = IssuedKey::parse(credential) else { return Ok(None) };
        let whereabouts = &self.0.whereabouts;
        if let Some(nid) = whereabouts.kept.get(&key.key_id) {
            return Ok(Some(nid));
        }
        let Ok(id) = KeyId::parse(&key.key_id.hyphenated().to_string()) else { return Ok(None) };
        let unread = |_: Unread| {
            let message = "The store does not say right now whose key this is; try again";
            Refusal::new(Code::EvidenceUnavailable, message).retry_after(1)
        };
        let found = whereabouts.reads.read((), vec![id]).await.map_err(unread)?;
        if let Some(nid) = found {
            whereabouts.kept.insert(key.key_id, nid);
        }
        Ok(found)
    }
}
