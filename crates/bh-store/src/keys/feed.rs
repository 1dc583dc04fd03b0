//! Telling every process which keys have changed.
//!
//! On PostgreSQL a change is announced by the transaction that makes it, and every process listens, this one as well. An
//! SQLite file has one process: it tells itself, after the commit.

use std::time::Duration;

use bh_app::ports::{Denial, KeyChange, KeyChanges};
use bh_domain::keys::key::KeyId;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Outcome;
use crate::db::{Db, Heard, Tx};

/// What the changes are announced under.
const CHANNEL: &str = "bulkhead_keys";
/// Changes that a slow reader may lag behind before it is told that everything may have changed.
const CHANGES_WAITING_MAX: usize = 4_096;
/// How long closing waits for the listener.
const LISTENER_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Where changes come together and are handed on.
#[derive(Debug)]
pub(crate) struct Feed {
    /// `None` once the store is closed: readers then come to their end.
    sender: Mutex<Option<broadcast::Sender<KeyChange>>>,
    /// Started with the first reader, on PostgreSQL alone.
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let (sender, _) = broadcast::channel(CHANGES_WAITING_MAX);
        Self { sender: Mutex::new(Some(sender)), listener: Mutex::new(None) }
    }

    /// Changes from now on.
    pub(super) fn subscribe(&self, db: &Db) -> KeyChanges {
        let Some(sender) = self.sender.lock().clone() else {
            // Closed already: a reader without a sender ends at once.
            return KeyChanges::new(broadcast::channel(1).1);
        };
        let receiver = sender.subscribe();
        let mut listener = self.listener.lock();
        if listener.is_none() {
            let heard = move |heard: Heard| {
                let change = match heard {
                    Heard::Connected => KeyChange::Everything,
                    Heard::Message(text) => read(&text),
                    Heard::Lost => KeyChange::Deaf,
                };
                // Without readers there is nobody to tell.
                sender.send(change).ok();
            };
            match db.listen(CHANNEL, heard) {
                Some(listening) => *listener = Some(tokio::spawn(listening)),
                // There is nobody else to hear of: it is heard from the start.
                None => return KeyChanges::new(receiver).after(KeyChange::Everything),
            }
        }
        KeyChanges::new(receiver)
    }

    /// Commits a transaction and tells what it has changed.
    pub(super) async fn commit<const N: usize>(&self, mut tx: Tx, changes: [KeyChange; N]) -> Outcome<()> {
        let mut announced = false;
        for change in &changes {
            announced = tx.announce(CHANNEL, || text(change)).await?;
        }
        if announced {
            return tx.commit().await;
        }
        let sender = self.sender.lock().clone();
        // On its own: a caller who goes away must not keep others from hearing of what is committed.
        let told = tokio::spawn(async move {
            tx.commit().await?;
            if let Some(sender) = sender {
                changes.into_iter().for_each(|change| drop(sender.send(change)));
            }
            Ok(())
        });
        told.await.map_err(|cause| sqlx::Error::Io(std::io::Error::other(cause)))?
    }

    /// More changes than a reader may lag behind.
    #[cfg(test)]
    pub(crate) fn flood(&self) {
        for _ in 0..=CHANGES_WAITING_MAX {
            if let Some(sender) = &*self.sender.lock() {
                sender.send(KeyChange::Tenant(Nid::SYSTEM)).ok();
            }
        }
    }

    /// Ends readers and the listener. To be called when the database is closed.
    pub(crate) async fn close(&self) {
        drop(self.sender.lock().take());
        let listener = self.listener.lock().take();
        if let Some(mut listener) = listener
            && tokio::time::timeout(LISTENER_ENDS_WITHIN, &mut listener).await.is_err()
        {
            listener.abort();
        }
    }
}

/// A change as the text that is announced.
fn text(change: &KeyChange) -> String {
    match change {
        KeyChange::Made { nid, key_id } => format!("made/{nid}/{key_id}"),
        KeyChange::Key { nid, key_id } => format!("key/{nid}/{key_id}"),
        KeyChange::Tenant(nid) => format!("tenant/{nid}"),
        KeyChange::Profile(nid) => format!("profile/{nid}"),
        KeyChange::Identity { nid, external_id } => format!("identity/{nid}/{external_id}"),
        KeyChange::Denied(denial) => {
            format!("denied/{}/{}/{}", denial.nid, denial.until.0, denial.subject)
        }
        KeyChange::Everything => "everything".to_owned(),
        // Nobody announces it: it is what a process finds out by itself.
        KeyChange::Deaf => "deaf".to_owned(),
    }
}

/// Reads such a text. One that a newer process has written in a way of its own stands for everything.
fn read(text: &str) -> KeyChange {
    known(text).unwrap_or(KeyChange::Everything)
}

fn known(text: &str) -> Option<KeyChange> {
    let (what, rest) = text.split_once('/')?;
    let nid = |text: &str| Uuid::parse_str(text).ok().map(Nid);
    match what {
        "key" => {
            let (tenant, key_id) = rest.split_once('/')?;
            Some(KeyChange::Key { nid: nid(tenant)?, key_id: KeyId::parse(key_id).ok()? })
        }
        "made" => {
            let (tenant, key_id) = rest.split_once('/')?;
            Some(KeyChange::Made { nid: nid(tenant)?, key_id: KeyId::parse(key_id).ok()? })
        }
        "tenant" => Some(KeyChange::Tenant(nid(rest)?)),
        "profile" => Some(KeyChange::Profile(nid(rest)?)),
        "identity" => {
            let (tenant, external_id) = rest.split_once('/')?;
            Some(KeyChange::Identity { nid: nid(tenant)?, external_id: external_id.to_owned() })
        }
        "denied" => {
            let (tenant, rest) = rest.split_once('/')?;
            let (until, subject) = rest.split_once('/')?;
            let until = Timestamp(until.parse().ok()?);
            Some(KeyChange::Denied(Denial { nid: nid(tenant)?, subject: subject.to_owned(), until }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_survives_being_announced_and_an_unknown_text_stands_for_everything() {
        let nid = Nid(Uuid::from_u128(7));
        let denial = Denial { nid, subject: "jti/with:slashes".to_owned(), until: Timestamp(-5) };
        for change in [
            KeyChange::Made { nid, key_id: KeyId::parse("5f-0c").unwrap() },
            KeyChange::Key { nid, key_id: KeyId::parse("5f-0c").unwrap() },
            KeyChange::Tenant(nid),
            KeyChange::Profile(nid),
            KeyChange::Identity { nid, external_id: "a/ü b".to_owned() },
            KeyChange::Denied(denial),
            KeyChange::Everything,
        ] {
            assert_eq!(read(&text(&change)), change);
        }
        for strange in ["", "key", "key/x/y", "tenant/", "denied/x", "moved/7"] {
            assert_eq!(read(strange), KeyChange::Everything, "{strange}");
        }
    }
}
