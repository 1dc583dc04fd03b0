//! What the commands read with: the store of the configured installation, and the stories over it.

use std::sync::Arc;

use bh_app::evidence::{EvidenceReads, Reach};
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, EvidenceStore, Holder, SystemClock, TenantStore};
use bh_app::recorder::{Checkpointer, Recorder, RecorderOptions};
use bh_app::snapshot::OnFailure;
use bh_config::Loaded;
use bh_domain::evidence::HmacKey;
use bh_domain::evidence::checkpoint::{CheckpointError, PublicKey};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::beside::{ReadBeside, open_beside};
use crate::cli::Failure;
use crate::data_dir;
use crate::load::ConfigSource;
use crate::secrets::{self, ServerSecrets};

/// How many tenants' checkpoints are looked at to notice a wrong signing key.
const CHECKPOINTS_TRIED: usize = 16;

/// Reads the evidence of an installation.
pub(in crate::cli) struct Reader {
    pub(in crate::cli) loaded: Loaded,
    pub(in crate::cli) reads: EvidenceReads,
    pub(in crate::cli) store: Arc<ReadBeside>,
    pub(in crate::cli) clock: Arc<dyn Clock>,
    /// Signs records; to verify them.
    pub(super) key: HmacKey,
    /// Signs checkpoints; to verify them.
    pub(super) public_key: PublicKey,
}

/// A tenant on record.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Tenant {
    pub(in crate::cli) id: String,
    pub(in crate::cli) nid: Nid,
}

impl Tenant {
    /// This tenant's data.
    pub(in crate::cli) fn reach(&self) -> Reach {
        Reach::Tenant { id: self.id.clone(), nid: self.nid }
    }
}

impl Reader {
    /// Opens the installation that the configuration describes. Nothing is created or migrated.
    pub(in crate::cli) async fn open(source: &ConfigSource) -> Result<Self, Failure> {
        let mut loaded = source.reload()?;
        // Nobody's keys are served here, so a tenant's own settings of them do not matter, be they good or bad.
        loaded.overlays = bh_config::Overlays::default();
        let data_dir = data_dir::path(&loaded.config)?;
        // The store first: where there is none, no secrets must be made either.
        let store = open_beside(&loaded, &data_dir).await?;
        let ServerSecrets { evidence: key, signing, .. } =
            secrets::obtain(&loaded.config.secrets, &data_dir)?;
        let public_key = signing.public_key();
        notice_wrong_key(store.as_ref(), &public_key).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let evidence: Arc<dyn EvidenceStore> = store.clone();
        // A checkpointer speaks for a recorder; this one never records.
        let options = RecorderOptions {
            signing_key: key.clone(),
            holder: Holder::default(),
            on_failure: OnFailure::Refuse,
        };
        let recorder = Recorder::new(Arc::clone(&evidence), Metrics::new(), options);
        let checkpointer =
            Checkpointer::new(recorder, Arc::clone(&evidence), Arc::clone(&clock), Arc::new(signing));
        let reads = EvidenceReads::new(evidence, checkpointer, key.clone());
        Ok(Self { loaded, reads, store, clock, key, public_key })
    }

    /// Now.
    pub(in crate::cli) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The named tenant's data, or everybody's when none is named.
    pub(in crate::cli) async fn reach(&self, tenant: Option<&str>) -> Result<Reach, Failure> {
        match Reach::stored(tenant.unwrap_or_default(), self.store.as_ref()).await? {
            Reach::Nobody { asked } => {
                Err(Failure::new(format!("there is no tenant `{asked}` in this store")))
            }
            reach @ (Reach::Tenant { .. } | Reach::Everywhere) => Ok(reach),
        }
    }

    /// The named tenant, or all of them when none is named.
    pub(in crate::cli) async fn tenants(&self, tenant: Option<&str>) -> Result<Vec<Tenant>, Failure> {
        match self.reach(tenant).await? {
            Reach::Tenant { id, nid } => Ok(vec![Tenant { id, nid }]),
            Reach::Everywhere | Reach::Nobody { .. } => {
                let rows = self.store.tenants_everywhere(Scope::system("every tenant, one by one")).await?;
                Ok(rows.into_iter().map(|row| Tenant { id: row.id.to_string(), nid: row.nid }).collect())
            }
        }
    }
}

/// Secrets of another installation would sign exports that nobody can attribute to this one.
async fn notice_wrong_key(store: &ReadBeside, key: &PublicKey) -> Result<(), Failure> {
    let everywhere = || Scope::system("whose signatures these are");
    for nid in store.heads_everywhere(everywhere()).await?.into_keys().take(CHECKPOINTS_TRIED) {
        let Some(newest) = store.checkpoint(everywhere(), nid).await? else { continue };
        return match key.verify(&newest.note) {
            Err(CheckpointError::UnknownKey) => Err(Failure::new(
                "`secrets.signing_key` is not the one this store's checkpoints are signed with: run this command with \
                 the configuration, the environment and the data directory of the gateway",
            )),
            // Damage is a finding of `audit verify`, not of opening.
            Ok(_) | Err(CheckpointError::Malformed | CheckpointError::Signature) => Ok(()),
        };
    }
    Ok(())
}
