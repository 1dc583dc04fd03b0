//! Builds the ports, gives each story the few it needs, and each door its story.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bh_adapters::HttpUpstream;
use bh_app::audit::{AuditReads, AuditTrail};
use bh_app::budgets::BudgetKeeper;
use bh_app::content::ContentSealer;
use bh_app::costs::CostReads;
use bh_app::evidence::EvidenceReads;
use bh_app::evidence::retention::Retention;
use bh_app::identity::{Gate, KeyHasher};
use bh_app::keys::{KeyParts, KeyStory, SharedParts, TokenSeeds};
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, Holder, Store, StoreFault, SystemClock, SystemEntropy};
use bh_app::recorder::{Checkpointer, Recorder, RecorderOptions};
use bh_app::snapshot::{Accounts, Live, Snapshot, TenantSecrets};
use bh_app::status::StatusReads;
use bh_app::tenants::{self, Repetitions, TenantParts, TenantStory};
use bh_app::usage::{UsageReads, Verifications};
use bh_app::vault::{Masters, RootKey, Vault, VaultParts};
use bh_app::webhooks::{Outbox, WebhookReads};
use bh_config::Loaded;
use bh_domain::evidence::HmacKey;
use bh_domain::evidence::checkpoint::SigningKey;
use bh_domain::keys::imported::ImportHasher;
use bh_domain::time::Timestamp;
use bh_http::Doors;
use bh_store::SqlStore;
use uuid::Uuid;

use crate::compile::{self, CompileFault, Mode, Runtime};
use crate::data_dir::{self, DataDirFault};
use crate::jobs::{Jobs, KEY_USES_EVERY, KEY_USES_EVERY_MIN};
use crate::secrets::{self, KeptMasters, SecretsFault, ServerSecrets, StrangeSecret};
use crate::shared;
use crate::stories::{llm_story, tool_story};
use crate::trails::{Trails, TrailsFault};
use crate::webhooks::Webhooks;

const SQLITE_FILE: &str = "bulkhead.db";

/// Why a gateway could not be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssembleFault {
    #[error(transparent)]
    DataDir(#[from] DataDirFault),
    #[error(transparent)]
    Secrets(#[from] SecretsFault),
    #[error("the store cannot be opened")]
    Open(#[from] bh_store::OpenFault),
    #[error("the store cannot be used")]
    Store(#[from] StoreFault),
    #[error(transparent)]
    StrangeSecret(#[from] StrangeSecret),
    #[error("`redis.url` or `cache.redis` names no server that can be used")]
    Redis(#[from] bh_adapters::RedisFault),
    #[error(transparent)]
    Compile(#[from] CompileFault),
    #[error(transparent)]
    Trails(#[from] TrailsFault),
}

/// A gateway, ready to serve.
pub(crate) struct Gateway {
    pub(crate) doors: Arc<Doors>,
    pub(crate) jobs: Jobs,
    pub(crate) store: SqlStore,
    pub(crate) reloader: Reloader,
}

/// What a reload needs.
#[derive(Clone)]
pub(crate) struct Reloader {
    pub(crate) live: Live,
    runtime: Arc<Runtime>,
    store: SqlStore,
    clock: Arc<dyn Clock>,
    mode: Mode,
    masters: (Arc<Masters>, KeptMasters),
}

impl Reloader {
    /// Resolves when a tenant has changed with which the configuration in force was made.
    pub(crate) async fn outdated(&self) {
        self.runtime.directory.outdated().await;
    }

    /// Puts a configuration in force, from the next request on.
    pub(crate) async fn apply(&self, loaded: &Loaded) -> Result<Arc<Snapshot>, CompileFault> {
        let (before, now) = (self.live.load_full(), self.clock.now());
        let snapshot =
            compile::compile(loaded, &self.runtime, &self.store, Some(&before), now, self.mode).await?;
        let snapshot = Arc::new(snapshot);
        self.live.store(Arc::clone(&snapshot));
        let (masters, kept) = &self.masters;
        kept.configure(&loaded.config.secrets);
        if let Err(fault) = masters.refresh() {
            tracing::error!(error = &fault as &dyn std::error::Error, "the master keys were not read anew");
        }
        Ok(snapshot)
    }
}

/// Where the store is: the configured URL, or a file in the data directory.
pub(crate) fn store_url(loaded: &Loaded, data_dir: &Path) -> (String, u32) {
    let store = &loaded.config.store;
    let url = store.url.as_ref().map(|url| url.expose().to_owned());
    let file = || data_dir.join(SQLITE_FILE).display().to_string();
    (url.unwrap_or_else(file), store.pool_size.unwrap_or(bh_store::CONNECTIONS_DEFAULT))
}

/// The data directory and the secrets of an installation.
pub(crate) fn installation(loaded: &Loaded) -> Result<(PathBuf, ServerSecrets), AssembleFault> {
    let data_dir = data_dir::prepare(&loaded.config)?;
    let secrets = secrets::obtain(&loaded.config.secrets, &data_dir)?;
    Ok((data_dir, secrets))
}

/// Opens the store with the secrets that belong to it, and announces this process there.
async fn open(
    loaded: &Loaded,
    holder: Holder,
    now: Timestamp,
) -> Result<(SqlStore, ServerSecrets, RootKey), AssembleFault> {
    let (data_dir, secrets) = installation(loaded)?;
    let (url, connections_max) = store_url(loaded, &data_dir);
    let options = bh_store::Options { connections_max, ..bh_store::Options::default() };
    let store = bh_store::open(&url, options).await?;
    let root = secrets.unlock(&store, now).await?;
    join(&store, holder, now, is_sqlite(&url)).await?;
    Ok((store, secrets, root))
}

/// Puts a gateway together.
pub(crate) async fn assemble(loaded: &Loaded, mode: Mode) -> Result<Gateway, AssembleFault> {
    let (clock, holder) = (Arc::new(SystemClock::new()) as Arc<dyn Clock>, Holder(Uuid::now_v7()));
    let (sql, secrets, root) = open(loaded, holder, clock.now()).await?;
    let store: Arc<dyn Store> = Arc::new(sql.clone());
    let metrics = Metrics::new();
    let budgets = BudgetKeeper::new(Arc::new(sql.clone()), Arc::clone(&clock), holder);
    let runtime = Arc::new(runtime(loaded, &root, &budgets, (&clock, &metrics))?);
    let (tenants_since, live) = first_snapshot(loaded, &runtime, &sql, &clock, mode).await?;
    let vault = vault(&sql, &clock, &secrets.masters, &root, loaded);
    let outbox = Outbox::new(Arc::clone(&live));
    let keys = key_story(&sql, &clock, &root, &metrics, outbox, shared::rows(loaded, &root)?);
    let (recorder, checkpointer) =
        recording(&sql, &clock, &metrics, (secrets.evidence.clone(), secrets.signing), holder, &live);
    let trails = Trails::open(loaded, &sql, (keys.trail(), &recorder), (&clock, &live, &metrics)).await?;
    let gate = Gate::new(keys.clone(), runtime.accounts.clone()).counting_keyless(trails.keyless.clone());
    let upstream = HttpUpstream::new();
    let webhooks = Webhooks::new(&sql, Arc::clone(&upstream) as _, &live, &clock, &metrics, &budgets);
    let tenants = tenant_story(&sql, &keys, &runtime, &live, &clock, &root);
    let jobs = Jobs {
        tenants: tenants.clone(),
        vault: vault.clone(),
        tenants_since,
        rates: runtime.accounts.shared.clone(),
        key_news: Arc::new(sql.clone()),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        recorder: recorder.clone(),
        checkpointer: checkpointer.clone(),
        budgets: budgets.clone(),
        retention: retention(loaded, &store, &recorder, &clock, &live),
        webhooks: webhooks.clone(),
        failure_retention_days: loaded.config.audit.failure_retention_days,
        usage: Arc::new(sql.clone()),
        verifications: Verifications::default(),
        usage_retention_days: loaded.config.usage.retention_days,
        holder,
        keys: keys.clone(),
        trails: trails.clone(),
        key_uses_every: key_uses_every(loaded),
        checkpoint_every: loaded.config.evidence.checkpoint_interval.0,
    };
    let doors = Doors {
        tools: tool_story(&sql, (&upstream, &vault), &recorder, &live, &clock, &metrics),
        llm: llm_story(&gate, &budgets, &recorder, (upstream, vault.clone()), &clock, &metrics),
        gate,
        verifications: jobs.verifications.clone(),
        costs: CostReads::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&live)),
        usage: UsageReads::new(Arc::new(sql.clone()), Arc::clone(&clock), Arc::clone(&live)),
        status: StatusReads::new(Arc::clone(&store), recorder.clone(), Arc::clone(&clock), Arc::clone(&live)),
        recorder,
        tenants,
        vault,
        webhooks: WebhookReads::new(webhooks.courier, Arc::new(sql.clone())),
        periods: webhooks.periods,
        trail: keys.trail(),
        keyless: trails.keyless,
        audit: AuditReads::new(Arc::new(sql.clone()), keys.clone()),
        keys,
        evidence: EvidenceReads::new(Arc::new(sql.clone()), checkpointer, secrets.evidence),
        store,
        started_ns: clock.monotonic_ns(),
        metrics,
        config_fault: Arc::new(ArcSwapOption::empty()),
        live: Arc::clone(&live),
        clock: Arc::clone(&clock),
    };
    let masters = (secrets.masters, secrets.kept_masters);
    let reloader = Reloader { live, runtime, store: sql.clone(), clock, mode, masters };
    Ok(Gateway { doors: Arc::new(doors), jobs, store: sql, reloader })
}

/// The configuration that is in force first, with the tenants there are; and since when further ones are to be heard of.
async fn first_snapshot(
    loaded: &Loaded,
    runtime: &Runtime,
    sql: &SqlStore,
    clock: &Arc<dyn Clock>,
    mode: Mode,
) -> Result<(Timestamp, Live), AssembleFault> {
    let since = clock.now();
    tenants::learn(sql, &runtime.directory, Timestamp(i64::MIN)).await?;
    let snapshot = compile::compile(loaded, runtime, sql, None, clock.now(), mode).await?;
    Ok((since, Arc::new(ArcSwap::from_pointee(snapshot))))
}

/// What makes tombstones of old evidence, where it is not kept for ever.
fn retention(
    loaded: &Loaded,
    store: &Arc<dyn Store>,
    recorder: &Recorder,
    clock: &Arc<dyn Clock>,
    live: &Live,
) -> Option<Retention> {
    let days = loaded.config.evidence.retention_days?;
    Some(Retention::new(Arc::clone(store), recorder.clone(), Arc::clone(clock), Arc::clone(live), days))
}

/// Tenants, administered.
fn tenant_story(
    sql: &SqlStore,
    keys: &KeyStory,
    runtime: &Runtime,
    live: &Live,
    clock: &Arc<dyn Clock>,
    root: &RootKey,
) -> TenantStory {
    TenantStory::new(TenantParts {
        store: Arc::new(sql.clone()),
        keys: keys.clone(),
        directory: Arc::clone(&runtime.directory),
        live: Arc::clone(live),
        clock: Arc::clone(clock),
        outbox: Outbox::new(Arc::clone(live)),
        repetitions: Repetitions::new(&root.derive("requests made again")),
    })
}

/// What puts evidence on the record, and signs for it.
fn recording(
    sql: &SqlStore,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    (evidence, signing): (HmacKey, SigningKey),
    holder: Holder,
    live: &Live,
) -> (Recorder, Checkpointer) {
    let on_failure = live.load().evidence.on_failure;
    let options = RecorderOptions { signing_key: evidence, holder, on_failure };
    let recorder = Recorder::new(Arc::new(sql.clone()), Arc::clone(metrics), options);
    let (store, signing) = (Arc::new(sql.clone()), Arc::new(signing));
    let checkpointer = Checkpointer::new(recorder.clone(), store, Arc::clone(clock), signing);
    (recorder, checkpointer)
}

/// How often the last uses of keys are written.
fn key_uses_every(loaded: &Loaded) -> Duration {
    let configured = loaded.config.last_used.as_ref().and_then(|uses| uses.flush_interval.as_ref());
    configured.map_or(KEY_USES_EVERY, |interval| interval.0.max(KEY_USES_EVERY_MIN))
}

/// The sealed store.
fn vault(
    sql: &SqlStore,
    clock: &Arc<dyn Clock>,
    masters: &Arc<Masters>,
    root: &RootKey,
    loaded: &Loaded,
) -> Vault {
    let isolation = loaded.config.multi_tenant.as_ref().map(|tenancy| &tenancy.isolation);
    Vault::new(VaultParts {
        store: Arc::new(sql.clone()),
        masters: Arc::clone(masters),
        audit: Arc::new(sql.clone()),
        clock: Arc::clone(clock),
        separate_keys: isolation.is_none_or(|isolation| isolation.separate_vault_keys),
        old_content: ContentSealer::new(&root.derive("content")),
    })
}

/// What survives reloads.
fn runtime(
    loaded: &Loaded,
    root: &RootKey,
    budgets: &BudgetKeeper,
    (clock, metrics): (&Arc<dyn Clock>, &Arc<Metrics>),
) -> Result<Runtime, AssembleFault> {
    let shared = shared::rates(loaded, clock, metrics)?;
    Ok(Runtime::new(
        KeyHasher::new(&root.derive("key digest")),
        TenantSecrets::new(&root.derive("tenant keys")),
        Accounts { budgets: budgets.clone(), rates: Arc::default(), shared },
        Arc::clone(metrics),
    ))
}

/// The API-key server, with secrets of its own for what is hashed and signed without any being configured.
pub(crate) fn key_story(
    sql: &SqlStore,
    clock: &Arc<dyn Clock>,
    root: &RootKey,
    metrics: &Arc<Metrics>,
    outbox: Outbox,
    shared: Option<SharedParts>,
) -> KeyStory {
    let parts = KeyParts {
        store: Arc::new(sql.clone()),
        identities: Arc::new(sql.clone()),
        owners: Arc::new(sql.clone()),
        clock: Arc::clone(clock),
        entropy: Arc::new(SystemEntropy),
        hasher: ImportHasher::new(&root.derive("imported keys")),
        seeds: TokenSeeds::new(&root.derive("token signing keys")),
        trail: AuditTrail::new(Arc::new(sql.clone()), Arc::clone(clock), Arc::clone(metrics)),
        outbox,
        metrics: Arc::clone(metrics),
    };
    KeyStory::with_shared(parts, shared)
}

fn is_sqlite(url: &str) -> bool {
    !url.starts_with("postgres")
}

/// Announces this process to the store. Alone on an SQLite file, every other process is known to be dead.
async fn join(store: &SqlStore, holder: Holder, now: Timestamp, alone: bool) -> Result<(), StoreFault> {
    use bh_app::ports::BudgetStore;
    store.heartbeat(holder, now).await?;
    if alone {
        let dead = store.bury(holder, None).await?;
        if dead > 0 {
            tracing::warn!(
                dead,
                "the last run ended without settling; what it had leased counts as unsettled"
            );
        }
    }
    Ok(())
}
