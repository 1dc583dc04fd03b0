//! When keys were last used: remembered to the day, written later and together.

use std::collections::HashMap;

use bh_domain::keys::key::{KeyId, KeyKind};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use parking_lot::Mutex;

use super::KeyStory;
use crate::ports::KeyUse;

/// Uses that wait to be written; more are forgotten until they come again.
const WAITING_MAX: usize = 65_536;
/// Uses of one write.
const WRITE_MAX: usize = 1_000;

#[derive(Default)]
pub(super) struct Uses(Mutex<HashMap<(Nid, KeyKind, KeyId), Timestamp>>);

impl Uses {
    pub(super) fn note(&self, nid: Nid, kind: KeyKind, key_id: &KeyId, at: Timestamp) {
        let mut waiting = self.0.lock();
        if waiting.len() < WAITING_MAX {
            waiting.insert((nid, kind, key_id.clone()), at);
        }
    }

    fn take(&self) -> Vec<KeyUse> {
        let taken = std::mem::take(&mut *self.0.lock());
        let used = |((nid, kind, key_id), at)| KeyUse { nid, kind, key_id, at };
        taken.into_iter().map(used).collect()
    }
}

impl KeyStory {
    /// Writes the uses that wait. What cannot be written now comes again with the next use after a restart, or is
    /// tried again with the next flush.
    pub async fn flush_uses(&self) {
        let waiting = self.0.uses.take();
        for uses in waiting.chunks(WRITE_MAX) {
            let scope = Scope::system("key uses");
            if let Err(fault) = self.0.parts.store.touch(scope, uses.to_vec()).await {
                tracing::warn!(error = &fault as &dyn std::error::Error, "uses of keys were not written");
                for used in uses {
                    self.0.uses.note(used.nid, used.kind, &used.key_id, used.at);
                }
            }
        }
    }
}
