//! Fills a store with tenants as an operator makes them, and with what they used, for measuring what grows with them.
//!
//! `cargo run --release -p bh-store --example fill_tenants -- URL FROM TO ROWS`: tenants `customer-FROM` up to TO, each with
//! ROWS rows of usage, one for each hour up to now. Through the gateway, ten million rows take ten thousand hours.
#![allow(clippy::print_stdout, reason = "progress is for reading")]

use bh_app::ports::{TenantRow, TenantStore as _};
use bh_domain::tenant::{Nid, TenantId};
use bh_store::{Options, open};
use sqlx::{Connection as _, Executor as _};
use uuid::Uuid;

/// Tenants that one statement fills.
const TENANTS_AT_ONCE: u64 = 1_000;
const HOUR_S: u64 = 3_600;
/// A row is a hundred calls of a thousand tokens.
const USED: &str = "100, 1, 0, 0, 60000, 40000, 0, 0, 0, 250000000, 10, 20, 30, 20, 10, 5, 3, 1, 0, 0, 0, 0";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, from, to, rows] = args.as_slice() else {
        return Err("usage: fill_tenants URL FROM TO ROWS".into());
    };
    let (from, to, rows) = (from.parse::<u64>()?, to.parse::<u64>()?, rows.parse::<u64>()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        name(url, from, to).await?;
        let now = jiff::Timestamp::now().as_second();
        let hour = u64::try_from(now)? / HOUR_S;
        for first in (from..to).step_by(usize::try_from(TENANTS_AT_ONCE)?) {
            let last = (first + TENANTS_AT_ONCE).min(to) - 1;
            let tenants = format!("FROM tenants WHERE nid BETWEEN '{}' AND '{}'", nid(first), nid(last));
            let made_ms = now * 1_000;
            let profiles = format!(
                "INSERT INTO tenant_profiles (nid, status, settings, created_ms, updated_ms, revision) \
                 SELECT nid, 'active', '{{}}', {made_ms}, {made_ms}, 1 {tenants}"
            );
            let usage = format!(
                "INSERT INTO usage_hours (nid, hour, kind, caller, provider, model, holder, requests, denied, failed, units, \
                 input, output, cache_read, cache_write, reasoning, cost_nano, ms_64, ms_128, ms_256, ms_512, ms_1024, ms_2048, \
                 ms_4096, ms_8192, ms_16384, ms_32768, ms_65536, ms_more) \
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
                 SELECT nid, {hour} - {rows} + i, 'llm', 'app', 'openai', 'gpt-5-mini', 'filled', {USED} \
                 FROM (SELECT nid {tenants}) AS t CROSS JOIN n ORDER BY nid, i"
            );
            run(url, &[profiles, usage]).await?;
        }
        run(url, &[settled(url).to_owned()]).await?;
        println!("tenants {from} to {to}, {rows} rows of usage each");
        Ok(())
    })
}

/// Their rows, whose network ids are in the order of their names.
async fn name(url: &str, from: u64, to: u64) -> Result<(), Failure> {
    let store = open(url, Options::default()).await?;
    let rows =
        (from..to).map(|n| Ok(TenantRow { nid: nid(n), id: TenantId::parse(&format!("customer-{n:06}"))? }));
    store.ensure_tenants(rows.collect::<Result<_, Failure>>()?).await?;
    store.close().await;
    Ok(())
}

/// What makes a filled store one that has been in use: statistics, and nothing left in the log.
fn settled(url: &str) -> &'static str {
    if url.starts_with("postgres") { "VACUUM ANALYZE" } else { "PRAGMA wal_checkpoint(TRUNCATE)" }
}

async fn run(url: &str, statements: &[String]) -> Result<(), Failure> {
    if url.starts_with("postgres") {
        let mut connection = sqlx::PgConnection::connect(url).await?;
        connection.execute("SELECT set_config('bulkhead.nid', '*', false)").await?;
        for statement in statements {
            connection.execute(sqlx::AssertSqlSafe(statement.clone())).await?;
        }
    } else {
        let path = url.trim_start_matches("sqlite:");
        let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite:{path}")).await?;
        // A crash loses what can be filled again.
        connection.execute("PRAGMA synchronous = OFF").await?;
        for statement in statements {
            connection.execute(sqlx::AssertSqlSafe(statement.clone())).await?;
        }
    }
    Ok(())
}

fn nid(n: u64) -> Nid {
    Nid(Uuid::from_u128(0x4000_8000_0000_0000_0000 + u128::from(n) + 1))
}
