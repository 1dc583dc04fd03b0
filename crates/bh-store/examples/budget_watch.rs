//! What a look at budgets that are nearly used up costs: adding them up, and reading what is committed of them.
//!
//! `cargo run --release -p bh-store --example budget_watch -- [URL] [TENANTS] [LOOKED_AT]`: URL is a path or
//! `postgres://…` (a file in the current directory by default). Each tenant has a monthly budget, and has spent on every day
//! of it through five callers.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

use std::sync::Arc;
use std::time::Instant;

use bh_app::ports::{
    Batch, BudgetStore as _, BudgetWindow, EvidenceStore as _, Holder, LeaseRequest, SpendDelta,
};
use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_store::{Options, SqlStore, open};
use uuid::Uuid;

const MONTH: &str = "2026-11";
const DAYS: u32 = 30;
const CALLERS: u32 = 5;
const CAP: NanoUsd = NanoUsd(1_000_000);
const TENANTS_AT_ONCE: u64 = 20;
const ROUNDS: u32 = 10;
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "budget_watch.db".to_owned());
    let tenants = args.next().map_or(Ok(10_000), |text| text.parse())?;
    let looked_at = args.next().map_or(Ok(256), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(&url, tenants, looked_at))
}

async fn measure(url: &str, tenants: u64, looked_at: u64) -> Result<(), Failure> {
    let (store, holder) = (open(url, Options::default()).await?, Holder(Uuid::now_v7()));
    for first in (0..tenants).step_by(usize::try_from(TENANTS_AT_ONCE)?) {
        fill(&store, holder, first..tenants.min(first + TENANTS_AT_ONCE)).await?;
    }
    let step = (tenants / looked_at.max(1)).max(1);
    let budgets: Vec<BudgetWindow> = (0..looked_at.min(tenants)).map(|n| budget(n * step)).collect();
    let scope = Scope::system("measure");
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        store.figures(scope.clone(), budgets.clone()).await?;
    }
    let summed = begun.elapsed() / ROUNDS;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        store.committed(scope.clone(), budgets.clone()).await?;
    }
    let (looked, count) = (begun.elapsed() / ROUNDS, budgets.len());
    println!("{tenants} tenants, {count} budgets a look: added up {summed:.1?}, committed {looked:.1?}");
    Ok(())
}

fn nid(tenant: u64) -> Nid {
    Nid(Uuid::from_u128(u128::from(tenant) + 1))
}

fn budget(tenant: u64) -> BudgetWindow {
    BudgetWindow { nid: nid(tenant), owner: Owner::Tenant, window: MONTH.to_owned() }
}

/// A month of spending, and the lease that it was spent from.
async fn fill(store: &SqlStore, holder: Holder, tenants: std::ops::Range<u64>) -> Result<(), Failure> {
    let (mut spend, mut leases) = (Vec::new(), Vec::new());
    for tenant in tenants {
        for (day, caller) in (1..=DAYS).flat_map(|day| (0..CALLERS).map(move |caller| (day, caller))) {
            spend.push(SpendDelta {
                nid: nid(tenant),
                owner: Owner::Caller(format!("caller-{caller}")),
                window: format!("{MONTH}-{day:02}"),
                calls: 1,
                denied: 0,
                failed: 0,
                tokens: TokenCounts::default(),
                cost: NanoUsd(CAP.0 * 9 / 10 / i64::from(DAYS * CALLERS)),
            });
        }
        let spent = NanoUsd(CAP.0 * 9 / 10);
        let (budget, first) = (budget(tenant), false);
        leases.push(LeaseRequest { id: tenant, budget, cap: CAP, needed: spent, wanted: spent, first });
    }
    store.append(Arc::new(Batch { holder, spend, ..Batch::default() })).await?;
    store.lease(holder, leases).await?;
    Ok(())
}
