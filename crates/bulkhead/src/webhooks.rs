//! Webhooks beside requests: deliveries, budgets that fill up, months that end, and what is too old to keep.

use std::sync::Arc;
use std::time::Duration;

use bh_app::budgets::BudgetKeeper;
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, StoreFault, SystemEntropy, Upstream};
use bh_app::snapshot::Live;
use bh_app::webhooks::{BudgetWatch, Courier, CourierParts, PeriodCloser};
use bh_store::SqlStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::jobs::every;

/// How often budgets are looked at that calls have noted.
const BUDGETS_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked whether a month is over, and how long the backlog is.
const PERIODS_EVERY: Duration = Duration::from_secs(30);
const GAUGES_EVERY: Duration = Duration::from_secs(5);

/// What tells webhooks.
#[derive(Clone)]
pub(crate) struct Webhooks {
    pub(crate) courier: Courier,
    pub(crate) budgets: BudgetWatch,
    pub(crate) periods: PeriodCloser,
}

impl Webhooks {
    pub(crate) fn new(
        sql: &SqlStore,
        upstream: Arc<dyn Upstream>,
        live: &Live,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
        keeper: &BudgetKeeper,
    ) -> Self {
        let store = Arc::new(sql.clone());
        let (live, clock) = (|| Arc::clone(live), || Arc::clone(clock));
        let courier = Courier::new(CourierParts {
            store: Arc::clone(&store) as _,
            upstream,
            live: live(),
            clock: clock(),
            entropy: Arc::new(SystemEntropy),
            metrics: Arc::clone(metrics),
            holder: keeper.holder(),
        });
        let (figures, outbox) = (Arc::clone(&store) as _, Arc::clone(&store) as _);
        let budgets = BudgetWatch::new(keeper.clone(), figures, outbox, live(), clock());
        Self { courier, budgets, periods: PeriodCloser::new(Arc::clone(&store) as _, store, live(), clock()) }
    }

    /// Starts what runs until the process is to stop.
    pub(crate) fn start(&self, tasks: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let (courier, stopping) = (self.courier.clone(), stop.clone());
        tasks.spawn(async move { courier.run(stopping).await });
        let gauges = self.courier.clone();
        tasks.spawn(every(GAUGES_EVERY, stop.clone(), move || {
            let courier = gauges.clone();
            async move { told("the backlog of webhooks was not counted", courier.gauge().await) }
        }));
        let budgets = self.budgets.clone();
        tasks.spawn(every(BUDGETS_EVERY, stop.clone(), move || {
            let budgets = budgets.clone();
            async move { told("budgets were not looked at", budgets.round().await) }
        }));
        // At once, too: months may have ended while the gateway was down.
        let (first, later) = (self.periods.clone(), self.periods.clone());
        tasks.spawn(async move { told("months were not closed", first.round().await) });
        tasks.spawn(every(PERIODS_EVERY, stop.clone(), move || {
            let periods = later.clone();
            async move { told("months were not closed", periods.round().await) }
        }));
    }

    /// Tells what the last calls have led to, and lets deliveries under way end. To be done once these calls are on the
    /// record.
    pub(crate) async fn close(&self) {
        told("budgets were not looked at", self.budgets.round().await);
        self.courier.rest().await;
    }

    /// Forgets events that are older than they are kept.
    pub(crate) async fn forget_old(&self) {
        match self.courier.forget_old().await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "old webhook events forgotten"),
            Err(fault) => {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "old webhook events were not forgotten"
                );
            }
        }
    }
}

fn told(what: &'static str, outcome: Result<(), StoreFault>) {
    if let Err(fault) = outcome {
        tracing::warn!(error = &fault as &dyn std::error::Error, "{what}");
    }
}
