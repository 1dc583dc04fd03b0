//! Taking over rows of another key server as they are: ids, times and states stay, so that the keys go on working.

use bh_domain::keys::key::Key;
use bh_domain::refusal::Refusal;

use super::trail::Action;
use super::{Asker, KeyStory};
use crate::ports::Inserted;

impl KeyStory {
    /// Stores keys of one kind, at most [`crate::ports::INSERT_MANY_MAX`], none of which is changed. One that is there
    /// already stays as it is. Quotas do not count: the keys exist.
    ///
    /// # Errors
    /// `evidence_unavailable` when the store does not answer.
    pub async fn adopt(&self, asker: &Asker, keys: Vec<Key>) -> Result<Vec<Inserted>, Refusal> {
        let with_event = |key: Key| {
            let event = self.event(asker, Action::Imported, &key.key_id, None, Some(&key));
            (key, event)
        };
        let rows = keys.into_iter().map(with_event).collect();
        let inserted = self.0.parts.store.insert_many(asker.scope(), rows, None).await;
        inserted.map_err(|fault| fault.refusal())
    }
}
