//! What runs beside requests: proof that the store can be written, checkpoints, idle money, dead replicas.

use std::sync::Arc;
use std::time::Duration;

use bh_app::budgets::BudgetKeeper;
use bh_app::evidence::retention::Retention;
use bh_app::keys::KeyStory;
use bh_app::ports::{Clock, Holder, KeyStore, Store, StoreFault, UsageStore};
use bh_app::rates::SharedRates;
use bh_app::recorder::{Checkpointer, ROUND_TREES_MAX, Recorder};
use bh_app::tenants::TenantStory;
use bh_app::usage::Verifications;
use bh_app::vault::Vault;
use bh_domain::time::{DAY_MS, SECOND_MS, Timestamp};
use bh_domain::usage::UtcDay;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::trails::Trails;
use crate::webhooks::Webhooks;

const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// After a round of checkpoints that left some for the next one.
const FULL_ROUND_PAUSE: Duration = Duration::from_secs(1);
/// How often replicas are counted, among whom limits are shared while they cannot be counted together.
const COUNT_REPLICAS_EVERY: Duration = Duration::from_secs(2);
/// A process that was seen within this time has its part of them.
const ALIVE_WITHIN_MS: i64 = 5 * SECOND_MS;
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3_600);
/// How often the last uses of keys are written, unless the configuration says otherwise, and how often at most.
pub(crate) const KEY_USES_EVERY: Duration = Duration::from_secs(30);
pub(crate) const KEY_USES_EVERY_MIN: Duration = Duration::from_millis(100);
/// How often audit events that belong to no change are written.
const AUDIT_EVERY: Duration = Duration::from_secs(1);
/// How often events of the audit trail become part of the evidence.
const ANCHOR_EVERY: Duration = Duration::from_secs(5);
/// How often verifications that were counted are written.
const VERIFICATIONS_EVERY: Duration = Duration::from_secs(1);
/// How long a start waits for the news of keys; without them every credential is read from the store.
const KEY_NEWS_WITHIN: Duration = Duration::from_secs(5);
/// What one process of an installation does for all of them.
const HOUSEKEEPING: &str = "housekeeping";
/// A process that has begun housekeeping and dies keeps the others from it for so long.
const CLAIM: Duration = Duration::from_secs(60);
const CLAIM_RENEW_EVERY: Duration = Duration::from_secs(20);
/// Leases of windows that ended so long ago, and processes that died so long ago, are of no more use: the longest
/// window is a month, and no call or process comes back after that.
const DEAD_KEPT_MS: i64 = 40 * DAY_MS;
/// A process that has not been seen for this long is dead; what it had leased counts as unsettled.
const DEAD_AFTER_MS: i64 = 30 * SECOND_MS;

/// Usage is kept by the hour for so many days, and by the day before that.
const USAGE_HOURS_DAYS: u32 = 90;

/// Characters of `2026-11-21` at the start of an instant.
const DAY_CHARS: usize = 10;

/// Everything the jobs work on.
#[derive(Clone)]
pub(crate) struct Jobs {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) budgets: BudgetKeeper,
    pub(crate) webhooks: Webhooks,
    pub(crate) retention: Option<Retention>,
    pub(crate) failure_retention_days: u32,
    pub(crate) usage: Arc<dyn UsageStore>,
    pub(crate) verifications: Verifications,
    pub(crate) usage_retention_days: u32,
    pub(crate) keys: KeyStory,
    pub(crate) tenants: TenantStory,
    pub(crate) vault: Vault,
    /// What changed of tenants before this instant is known.
    pub(crate) tenants_since: Timestamp,
    /// Limits that replicas share, where that is configured.
    pub(crate) rates: Option<Arc<SharedRates>>,
    /// Tells what changes in the store.
    pub(crate) key_news: Arc<dyn KeyStore>,
    pub(crate) trails: Trails,
    pub(crate) holder: Holder,
    pub(crate) checkpoint_every: Duration,
    pub(crate) key_uses_every: Duration,
}

/// The heartbeat of a process.
#[derive(Debug)]
pub(crate) struct Pulse {
    stop: watch::Sender<bool>,
    beating: JoinHandle<()>,
}

impl Pulse {
    /// Ends it. When this returns, nothing says any more that the process lives.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(fault) = self.beating.await {
            tracing::error!(error = &fault as &dyn std::error::Error, "the heartbeat broke off");
        }
    }
}

impl Jobs {
    /// Says again and again that this process lives, until it is told to end: that is after the drain, however long it
    /// takes, or another replica would count what running calls hold as a dead one's.
    pub(crate) fn pulse(&self) -> Pulse {
        let (stop, stopping) = watch::channel(false);
        let jobs = self.clone();
        let beat = move || {
            let jobs = jobs.clone();
            async move { jobs.heartbeat().await }
        };
        Pulse { stop, beating: tokio::spawn(every(HEARTBEAT_EVERY, stopping, beat)) }
    }

    /// Starts every other job; they end when `stop` turns true.
    pub(crate) fn start(&self, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let recorder = self.recorder.clone();
        tasks.spawn(async move { recorder.run().await });
        let (reads, changes, uses) = (self.keys.clone(), self.keys.clone(), self.keys.clone());
        let trail = self.keys.trail();
        tasks.spawn(every(AUDIT_EVERY, stop.clone(), move || {
            let trail = trail.clone();
            async move { trail.flush().await }
        }));
        tasks.spawn(async move { reads.run_reads().await });
        tasks.spawn(async move { changes.follow_changes().await });
        let (tenants, news, since) = (self.tenants.clone(), self.key_news.key_changes(), self.tenants_since);
        tasks.spawn(async move { tenants.follow(news, since).await });
        let shared = self.keys.clone();
        tasks.spawn(async move { shared.follow_shared().await });
        tasks.spawn(every(self.key_uses_every, stop.clone(), move || {
            let keys = uses.clone();
            async move { keys.flush_uses().await }
        }));
        if let Some(rates) = &self.rates {
            let (jobs, rates) = (self.clone(), Arc::clone(rates));
            let stop = stop.clone();
            tasks.spawn(async move {
                jobs.count_replicas(&rates).await;
                let again = || jobs.count_replicas(&rates);
                every(COUNT_REPLICAS_EVERY, stop, again).await;
            });
        }
        let trails = self.trails.clone();
        tasks.spawn(every(ANCHOR_EVERY, stop.clone(), move || {
            let trails = trails.clone();
            async move { trails.anchor(false).await }
        }));
        let trails = self.trails.clone();
        tasks.spawn(every(AUDIT_EVERY, stop.clone(), move || {
            let trails = trails.clone();
            async move { trails.flush().await }
        }));
        let jobs = self.clone();
        tasks.spawn(every(VERIFICATIONS_EVERY, stop.clone(), move || {
            let jobs = jobs.clone();
            async move { jobs.count_verifications().await }
        }));
        let jobs = self.clone();
        tasks.spawn(every(SWEEP_EVERY, stop.clone(), move || {
            let jobs = jobs.clone();
            async move { jobs.sweep().await }
        }));
        self.webhooks.start(&mut tasks, stop);
        tasks.spawn(self.clone().checkpoints(stop.clone()));
        tasks.spawn(self.clone().housekeeping(stop.clone()));
        tasks
    }

    /// Waits until what requests need is there.
    pub(crate) async fn ready(&self) {
        if !self.keys.ready_within(KEY_NEWS_WITHIN).await {
            tracing::warn!("changes of keys are not heard of yet: every credential is read from the store");
        }
    }

    async fn heartbeat(&self) {
        match self.store.heartbeat(self.holder, self.clock.now()).await {
            Ok(()) if self.recorder.idle() => self.recorder.set_healthy(true),
            // Records are waiting: whether they get through is for the writer to say.
            Ok(()) => {}
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "the store cannot be written");
                self.recorder.set_healthy(false);
            }
        }
    }

    /// Among how many limits are shared. As long as the store does not tell, as many as before.
    async fn count_replicas(&self, rates: &SharedRates) {
        match self.store.alive(self.clock.now().plus_ms(-ALIVE_WITHIN_MS)).await {
            Ok(replicas) => rates.shared_by(replicas),
            Err(fault) => {
                tracing::debug!(error = &fault as &dyn std::error::Error, "replicas were not counted")
            }
        }
    }

    async fn sweep(&self) {
        if let Err(fault) = self.budgets.sweep().await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "idle money was not given back");
        }
        match self.store.bury(self.holder, Some(self.clock.now().plus_ms(-DEAD_AFTER_MS))).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "replicas died; what they had leased counts as unsettled"),
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "could not look for dead replicas")
            }
        }
    }

    /// Checkpoints now and then; round after round while more trees wait than one round signs.
    async fn checkpoints(self, mut stop: watch::Receiver<bool>) {
        let mut pause = self.checkpoint_every;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut stop) => return,
            }
            let signed = told(self.checkpointer.round().await);
            let others_wait = signed >= ROUND_TREES_MAX;
            pause =
                if others_wait { FULL_ROUND_PAUSE.min(self.checkpoint_every) } else { self.checkpoint_every };
        }
    }

    /// Writes what waits of the audit trail and makes it part of the evidence, before the process ends.
    pub(crate) async fn close_trail(&self) {
        self.keys.trail().close().await;
        self.trails.anchor(true).await;
        self.trails.anchors.let_go().await;
    }

    /// Signs what has not been signed yet, before the process ends.
    pub(crate) async fn checkpoint_all(&self) {
        told(self.checkpointer.sign_all().await);
    }

    /// Housekeeping from the start on, every hour; sooner while another process has it.
    async fn housekeeping(self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = if self.housekeep().await { HOUSEKEEPING_EVERY } else { CLAIM };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Does what one process is to do at a time; returns false when another one has it.
    async fn housekeep(&self) -> bool {
        if !self.claim(CLAIM).await {
            tracing::info!("another replica does the housekeeping");
            return false;
        }
        let mut work = std::pin::pin!(async {
            self.forget_dead().await;
            self.keys.forget_denials().await;
            self.forget_failures().await;
            self.webhooks.forget_old().await;
            self.retain().await;
            self.keep_usage_small().await;
            self.keep_vault().await;
        });
        loop {
            tokio::select! {
                () = &mut work => break,
                () = tokio::time::sleep(CLAIM_RENEW_EVERY) => drop(self.claim(CLAIM).await),
            }
        }
        let let_go = self.store.claim(HOUSEKEEPING, self.holder, self.clock.now(), Timestamp(0)).await;
        if let Err(fault) = let_go {
            tracing::warn!(error = &fault as &dyn std::error::Error, "housekeeping was not let go");
        }
        true
    }

    async fn claim(&self, period: Duration) -> bool {
        let now = self.clock.now();
        let until = now.plus_ms(i64::try_from(period.as_millis()).unwrap_or(i64::MAX));
        self.store.claim(HOUSEKEEPING, self.holder, now, until).await.unwrap_or_else(|fault| {
            tracing::warn!(error = &fault as &dyn std::error::Error, "housekeeping was not claimed");
            false
        })
    }

    async fn forget_dead(&self) {
        let before = self.clock.now().plus_ms(-DEAD_KEPT_MS);
        let day = before.rfc3339().get(..DAY_CHARS).unwrap_or_default().to_owned();
        match self.store.forget_dead(day, before).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old leases and dead processes forgotten"),
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "old leases were not forgotten")
            }
        }
    }

    async fn forget_failures(&self) {
        let kept_ms = i64::from(self.failure_retention_days).saturating_mul(DAY_MS);
        match self.keys.trail().forget_failures(self.clock.now().plus_ms(-kept_ms)).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "old failed verifications forgotten"),
            Err(fault) => {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "old failed verifications were not forgotten"
                )
            }
        }
    }

    /// Seals anew what rotations of data keys have left, and forgets what deleted tenants asked and were answered.
    async fn keep_vault(&self) {
        match self.vault.settle_retiring().await {
            Ok(0) => {}
            Ok(resealed) => tracing::info!(resealed, "secrets sealed anew that a rotation had left"),
            Err(refusal) => tracing::warn!(reason = refusal.message, "retiring data keys were not settled"),
        }
        match self.vault.forget_contents_of_deleted().await {
            Ok(0) => {}
            Ok(contents) => tracing::info!(contents, "prompts and answers of deleted tenants forgotten"),
            Err(refusal) => {
                tracing::warn!(reason = refusal.message, "deleted tenants' prompts were not forgotten")
            }
        }
    }

    async fn retain(&self) {
        let Some(retention) = &self.retention else { return };
        if let Err(fault) = retention.run().await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "retention did not finish its round");
        }
    }

    /// Writes how often keys were verified.
    pub(crate) async fn count_verifications(&self) {
        self.verifications.flush(self.usage.as_ref(), self.holder, self.clock.now()).await;
    }

    async fn keep_usage_small(&self) {
        let today = UtcDay::of(self.clock.now());
        let ago = |days: u32| today.plus(-i64::from(days));
        // What is to be forgotten is rolled up first, so that there is one place to forget it from.
        let hours_before = ago(USAGE_HOURS_DAYS.min(self.usage_retention_days));
        let kept = async {
            let rolled_up = self.usage.roll_usage_up(hours_before).await?;
            Ok::<_, StoreFault>((rolled_up, self.usage.forget_usage(ago(self.usage_retention_days)).await?))
        };
        match kept.await {
            Ok((0, 0)) => {}
            Ok((rolled_up, forgotten)) => {
                tracing::info!(rolled_up, forgotten, "old usage rolled up and forgotten")
            }
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "old usage was not rolled up")
            }
        }
    }
}

fn told(checkpoints: Result<usize, StoreFault>) -> usize {
    checkpoints.unwrap_or_else(|fault| {
        tracing::warn!(error = &fault as &dyn std::error::Error, "checkpoints were not kept");
        0
    })
}

/// Returns once the process is to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which also is the end.
    drop(stop.wait_for(|stopped| *stopped).await);
}

pub(crate) async fn every<F, R>(period: Duration, mut stop: watch::Receiver<bool>, mut job: F)
where
    F: FnMut() -> R,
    R: Future<Output = ()>,
{
    loop {
        tokio::select! {
            () = tokio::time::sleep(period) => job().await,
            () = stopped(&mut stop) => return,
        }
    }
}
