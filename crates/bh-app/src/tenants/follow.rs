//! How memory learns of tenants: all of them at the start, and then each that changes, here or elsewhere.

use std::time::Duration;

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::{Directory, TenantStory};
use crate::ports::{KeyChange, KeyChanges, ProfileStore, StoreFault};

/// Profiles of one read.
const READ_PROFILES: u32 = 1_000;
/// Between attempts to learn what was missed, and how often it is looked for while changes are not heard: a tenant that is
/// suspended elsewhere is known here within a second all the same.
const CATCH_UP_EVERY: Duration = Duration::from_millis(500);
/// How far clocks of two processes may differ when one asks what has changed since it last looked.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Reads every tenant that changed since an instant.
///
/// # Errors
/// When the store does not answer.
pub async fn learn(
    store: &dyn ProfileStore,
    directory: &Directory,
    since: Timestamp,
) -> Result<(), StoreFault> {
    let scope = Scope::system("know every tenant");
    let mut after: Option<Nid> = None;
    loop {
        let profiles = store.profiles_everywhere(scope.clone(), since, after, READ_PROFILES).await?;
        after = profiles.last().map(|profile| profile.nid);
        let last = profiles.len() < READ_PROFILES as usize;
        directory.put(profiles);
        if last {
            return Ok(());
        }
    }
}

impl TenantStory {
    /// Follows what this process and others change since an instant, until the store is closed. One task runs this.
    pub async fn follow(&self, mut changes: KeyChanges, since: Timestamp) {
        let mut beat = tokio::time::interval(CATCH_UP_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Until the first good look at everything that may have changed since the start, something may be missed.
        let (mut deaf, mut missed) = (false, true);
        let mut seen = since;
        loop {
            let change = tokio::select! {
                change = changes.next() => match change {
                    Some(change) => change,
                    None => return,
                },
                _ = beat.tick() => {
                    if deaf || missed {
                        missed = self.catch_up(&mut seen).await.is_err();
                    }
                    continue;
                }
            };
            match change {
                KeyChange::Profile(nid) => missed |= self.learn_one(nid).await.is_err(),
                KeyChange::Deaf => deaf = true,
                KeyChange::Everything => (deaf, missed) = (false, true),
                KeyChange::Made { .. }
                | KeyChange::Key { .. }
                | KeyChange::Tenant(_)
                | KeyChange::Identity { .. }
                | KeyChange::Denied(_) => {}
            }
        }
    }

    async fn learn_one(&self, nid: Nid) -> Result<(), StoreFault> {
        let read = self.0.store.profile(Scope::tenant(nid)).await;
        self.0.directory.put(read.inspect_err(missed)?);
        Ok(())
    }

    /// Learns what may have been missed since the last time.
    async fn catch_up(&self, seen: &mut Timestamp) -> Result<(), StoreFault> {
        let now = self.0.clock.now();
        let since = seen.plus_ms(-CLOCKS_DIFFER_MS);
        learn(self.0.store.as_ref(), &self.0.directory, since).await.inspect_err(missed)?;
        *seen = now;
        Ok(())
    }
}

fn missed(fault: &StoreFault) {
    tracing::error!(error = fault as &dyn std::error::Error, "tenants were not read; trying again");
}
