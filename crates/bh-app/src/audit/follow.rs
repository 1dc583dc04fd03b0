//! All tenants' events as they become durable, for who passes them on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::{SECOND_MS, Timestamp};
use uuid::{Builder, Uuid};

use crate::ports::{AuditEvent, AuditStore, StoreFault};

/// An event may become durable so long after younger ones were. One that is later still is told of by the store alone.
const LATE_MS: i64 = 5 * SECOND_MS;
/// Events of one read.
const PAGE_EVENTS: u32 = 1_000;

/// Reads each event once.
pub struct Following {
    store: Arc<dyn AuditStore>,
    begun: Timestamp,
    /// The ids that have been told, of the last seconds.
    told: BTreeSet<Uuid>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").finish_non_exhaustive()
    }
}

impl Following {
    /// Events from an instant on.
    #[must_use]
    pub fn from(store: Arc<dyn AuditStore>, begun: Timestamp) -> Self {
        Self { store, begun, told: BTreeSet::new() }
    }

    /// What has become durable since the last time.
    ///
    /// # Errors
    /// When the store does not answer; what was not told is told the next time.
    pub async fn next(&mut self, now: Timestamp) -> Result<Vec<(Nid, AuditEvent)>, StoreFault> {
        let first = first_id(self.begun.max(now.plus_ms(-LATE_MS)));
        self.told = self.told.split_off(&first);
        let (mut found, mut after) = (Vec::new(), first);
        loop {
            let scope = Scope::system("following the audit trail");
            let page = self.store.audit_events_everywhere(scope, Some(after), PAGE_EVENTS).await?;
            let is_last = page.len() < PAGE_EVENTS as usize;
            if let Some((_, last)) = page.last() {
                after = last.id;
            }
            found.extend(page.into_iter().filter(|(_, event)| !self.told.contains(&event.id)));
            if is_last {
                break;
            }
        }
        self.told.extend(found.iter().map(|(_, event)| event.id));
        Ok(found)
    }
}

/// An id that comes before those of all events since an instant.
fn first_id(at: Timestamp) -> Uuid {
    Builder::from_unix_timestamp_millis(u64::try_from(at.0).unwrap_or(0), &[0; 10]).into_uuid()
}
