//! Opening everything that is sealed, to know that it can be opened: after a restore, after a rotation, now and then.

use std::collections::HashMap;

use bh_domain::refusal::Refusal;
use bh_domain::tenant::{Nid, Scope};

use super::Vault;
use super::keys::{DataKey, scope};
use super::secrets::opened;
use crate::ports::{KeyRef, SecretRow, WrappedKey};

/// Keys and secrets of one read.
const STEP: u32 = 500;
/// Data keys that are kept open on the way.
const OPEN_MAX: usize = 1_000;
/// What cannot be opened is named up to this number, and counted beyond it.
pub(super) const UNREADABLE_MAX: usize = 100;

/// Something that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Whose it is.
    pub nid: Nid,
    /// The secret's name; `None` for a data key.
    pub secret: Option<String>,
    /// The data key, or the one that should open the secret.
    pub key_version: u64,
}

/// What a look at everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultCheck {
    /// Keys that open.
    pub keys: u64,
    /// Secrets that open.
    pub secrets: u64,
    /// What does not, the first of it.
    pub unreadable: Vec<Unreadable>,
    /// How much does not.
    pub unreadable_count: u64,
}

impl VaultCheck {
    fn note(&mut self, found: Unreadable) {
        self.unreadable_count += 1;
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.push(found);
        }
    }
}

impl Vault {
    /// Opens every key and every secret.
    ///
    /// # Errors
    /// Those of the store. What cannot be opened is no error: it is in the answer.
    pub async fn check(&self) -> Result<VaultCheck, Refusal> {
        let mut check = VaultCheck::default();
        let mut after = None;
        loop {
            let rows = self.store().keys_after(scope(), after, STEP).await;
            let rows = rows.map_err(|fault| fault.refusal())?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in &rows {
                match self.tried(row) {
                    Some(_) => check.keys += 1,
                    None => {
                        check.note(Unreadable { nid: row.id.nid, secret: None, key_version: row.id.version })
                    }
                }
            }
        }
        self.check_secrets(&mut check).await?;
        Ok(check)
    }

    async fn check_secrets(&self, check: &mut VaultCheck) -> Result<(), Refusal> {
        let mut keys: HashMap<KeyRef, Option<DataKey>> = HashMap::new();
        let mut after = None;
        loop {
            let rows = self.store().secrets_everywhere(scope(), after, STEP).await;
            let rows = rows.map_err(|fault| fault.refusal())?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some((last.nid, last.name.clone()));
            for row in &rows {
                if self.opens(&mut keys, row).await? {
                    check.secrets += 1;
                } else if self.is_there(row).await? {
                    let secret = Some(row.name.clone());
                    check.note(Unreadable { nid: row.nid, secret, key_version: row.key.version });
                }
            }
        }
    }

    /// Whether a secret is still what was read: its tenant may have been deleted meanwhile, and its key with it.
    async fn is_there(&self, row: &SecretRow) -> Result<bool, Refusal> {
        let now = self.store().secret(Scope::tenant(row.nid), row.name.clone()).await;
        Ok(now.map_err(|fault| fault.refusal())?.is_some_and(|now| now.revision == row.revision))
    }

    async fn opens(
        &self,
        keys: &mut HashMap<KeyRef, Option<DataKey>>,
        row: &SecretRow,
    ) -> Result<bool, Refusal> {
        if keys.len() >= OPEN_MAX {
            keys.clear();
        }
        let by = |key: Option<&DataKey>| key.is_some_and(|key| opened(row, key).is_some());
        if let Some(known) = keys.get(&row.key) {
            return Ok(by(known.as_ref()));
        }
        let stored = self.store().key(scope(), row.key).await.map_err(|fault| fault.refusal())?;
        let key = stored.and_then(|stored| self.tried(&stored));
        let opens = by(key.as_ref());
        keys.insert(row.key, key);
        Ok(opens)
    }

    /// A key, if it opens: its master key may be unknown here.
    fn tried(&self, row: &WrappedKey) -> Option<DataKey> {
        self.open_key(row).ok().flatten()
    }
}
