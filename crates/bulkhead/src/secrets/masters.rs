//! Where master keys come from: the configuration, or the file of generated secrets.

use std::sync::Arc;

use bh_app::vault::{MasterFault, MasterKey, MasterSource, Ring};
use bh_config::schema::Secrets;
use parking_lot::Mutex;
use secrecy::zeroize::Zeroizing;

use super::file::{Kept, SecretsFile, random};
use super::{SecretsFault, bytes_of};

/// Older master keys that a file keeps: whoever rotates on and on finishes now and then.
const RETIRED_MAX: usize = 16;

/// The master keys of an installation. Clones are the same.
#[derive(Clone)]
pub(crate) struct KeptMasters(Arc<Parts>);

struct Parts {
    configured: Mutex<Configured>,
    file: SecretsFile,
}

/// What the configuration says of master keys.
#[derive(Clone)]
struct Configured {
    current: Option<Zeroizing<[u8; 32]>>,
    retired: Vec<Zeroizing<[u8; 32]>>,
}

impl Configured {
    fn of(secrets: &Secrets) -> Self {
        let bytes = |secret: &bh_config::Secret| Zeroizing::new(bytes_of(secret.expose()));
        Self {
            current: secrets.master_key.as_ref().map(bytes),
            retired: secrets.master_keys_retired.iter().map(bytes).collect(),
        }
    }

    fn others(&self) -> impl Iterator<Item = Arc<MasterKey>> {
        self.retired.iter().map(|bytes| Arc::new(MasterKey::new(**bytes)))
    }
}

impl KeptMasters {
    pub(super) fn new(secrets: &Secrets, file: SecretsFile) -> Self {
        Self(Arc::new(Parts { configured: Mutex::new(Configured::of(secrets)), file }))
    }

    /// Goes by another configuration from now on.
    pub(crate) fn configure(&self, secrets: &Secrets) {
        *self.0.configured.lock() = Configured::of(secrets);
    }

    fn configured(&self) -> Configured {
        self.0.configured.lock().clone()
    }

    /// Changes the file's keys, unless the configuration gives them, or they are in the middle of a rotation.
    fn change(
        &self,
        in_force: &str,
        change: impl FnOnce(Kept) -> Result<Kept, MasterFault>,
    ) -> Result<Ring, MasterFault> {
        let configured = self.configured();
        if configured.current.is_some() {
            return Err(MasterFault::Configured);
        }
        let changed = self.0.file.change(|kept| {
            let settled = master(&kept.master_key).id() == in_force;
            if settled { change(kept).map(Some) } else { Ok(None) }
        });
        Ok(ring_of(&changed?, &configured))
    }
}

impl MasterSource for KeptMasters {
    fn read(&self) -> Result<Ring, MasterFault> {
        let configured = self.configured();
        if let Some(current) = &configured.current {
            let current = Arc::new(MasterKey::new(**current));
            return Ok(Ring { current, retired: configured.others().collect(), configured: true });
        }
        Ok(ring_of(&self.0.file.held().map_err(failed)?, &configured))
    }

    fn renew(&self, in_force: &str) -> Result<Ring, MasterFault> {
        self.change(in_force, |mut kept| {
            if kept.master_keys_retired.len() >= RETIRED_MAX {
                return Err(MasterFault::TooMany);
            }
            let fresh = random().map_err(failed)?;
            let old = std::mem::replace(&mut kept.master_key, fresh);
            kept.master_keys_retired.insert(0, old);
            Ok(kept)
        })
    }

    fn forget_retired(&self, in_force: &str) -> Result<Ring, MasterFault> {
        self.change(in_force, |mut kept| {
            kept.master_keys_retired.clear();
            Ok(kept)
        })
    }
}

fn ring_of(kept: &Kept, configured: &Configured) -> Ring {
    let retired = kept.master_keys_retired.iter().map(|text| master(text)).chain(configured.others());
    Ring { current: master(&kept.master_key), retired: retired.collect(), configured: false }
}

fn master(text: &str) -> Arc<MasterKey> {
    Arc::new(MasterKey::new(bytes_of(text)))
}

fn failed(fault: SecretsFault) -> MasterFault {
    MasterFault::Failed(Box::new(fault))
}
