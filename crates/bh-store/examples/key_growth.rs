//! Whether reads of keys stay flat as keys grow.
//!
//! `cargo run --release -p bh-store --example key_growth -- [URL] [KEYS] [TENANTS]`: URL is a path, `sqlite:PATH` or
//! `postgres://…` of an empty store (a file in the current directory by default). Fills it with a tenth of the keys,
//! measures, fills the rest, and measures again: one line per kind of read.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

use std::time::Instant;

use bh_app::ports::{KeyFilter, KeyStore as _, TenantRow, TenantStore as _};
use bh_domain::keys::key::{KeyId, KeyKind};
use bh_domain::keys::verdict::KeyStatus;
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;
use bh_store::{Options, SqlStore, open};
use sqlx::{Connection as _, Executor as _};
use uuid::Uuid;

/// Reads of each kind.
const READS: u64 = 4_000;
/// Keys that one statement makes.
const FILL_MAX: u64 = 100_000;
const PAGE: u32 = 50;
/// Actors of each tenant.
const ACTORS: u64 = 10;
/// When the first key was made, in ms; each next one is a millisecond younger.
const BEGUN_MS: u64 = 1_780_000_000_000;
/// Every such key is revoked.
const REVOKED_EVERY: u64 = 10;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "key_growth.db".to_owned());
    let keys = args.next().map_or(Ok(5_000_000), |text| text.parse())?;
    let tenants = args.next().map_or(Ok(1_000), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(grow(&url, keys, tenants))
}

async fn grow(url: &str, keys: u64, tenants: u64) -> Result<(), Failure> {
    println!("{:>9}  {:32}  {:>8}  {:>8}  {:>8}", "keys", "read", "p50 µs", "p99 µs", "max µs");
    let mut made = 0;
    for total in [keys / 10, keys] {
        let store = open(url, Options::default()).await?;
        let rows = (0..tenants).map(|tenant| {
            Ok::<_, Failure>(TenantRow { id: TenantId::parse(&format!("t{tenant}"))?, nid: nid(tenant) })
        });
        store.ensure_tenants(rows.collect::<Result<_, _>>()?).await?;
        store.close().await;
        fill(url, made, total, tenants).await?;
        made = total;
        let store = open(url, Options::default()).await?;
        measure(&store, total, tenants).await?;
        store.close().await;
    }
    Ok(())
}

/// Makes keys by SQL: one by one through the store, five million take an hour.
async fn fill(url: &str, from: u64, to: u64, tenants: u64) -> Result<(), Failure> {
    let mut at = from;
    if url.starts_with("postgres") {
        let mut connection = sqlx::PgConnection::connect(url).await?;
        while at < to {
            let end = (at + FILL_MAX).min(to);
            let numbers = format!("FROM generate_series({at}, {}) AS n(i)", end - 1);
            let (nid, key_id) = (
                format!("'00000000-0000-4000-8000-' || lpad(to_hex(i % {tenants} + 1), 12, '0')"),
                "lpad(to_hex((i * 2654435761) & 4294967295), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(i), 12, '0')",
            );
            connection.execute(sqlx::AssertSqlSafe(insert(&nid, key_id, &numbers, tenants))).await?;
            at = end;
        }
        connection.execute("VACUUM ANALYZE api_keys").await?;
    } else {
        let path = url.trim_start_matches("sqlite:");
        let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite:{path}")).await?;
        while at < to {
            let end = (at + FILL_MAX).min(to);
            let numbers = format!(
                "FROM (WITH RECURSIVE n(i) AS (SELECT {at} UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n)",
                end - 1
            );
            let (nid, key_id) = (
                format!("'00000000-0000-4000-8000-' || printf('%012x', i % {tenants} + 1)"),
                "printf('%08x-0000-4000-8000-%012x', (i * 2654435761) & 4294967295, i)",
            );
            connection.execute(sqlx::AssertSqlSafe(insert(&nid, key_id, &numbers, tenants))).await?;
            at = end;
        }
        // A gateway's log never grows so long: what is read from it says nothing about one.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
    }
    Ok(())
}

fn insert(nid: &str, key_id: &str, numbers: &str, tenants: u64) -> String {
    format!(
        "INSERT INTO api_keys (nid, key_id, name, actor_id, scopes, metadata, status, enabled, visibility, created_ms, \
         updated_ms, expires_ms, allowed_cidrs, extras, revision, token_prefix, version) \
         SELECT {nid}, {key_id}, 'key ' || i, 'actor-' || (i / {tenants} % {ACTORS}), '[\"llm\"]', '{{}}', \
         CASE WHEN i / {tenants} % {REVOKED_EVERY} = 0 THEN 2 ELSE 1 END, 1, 1, {BEGUN_MS} + i, {BEGUN_MS} + i, \
         {BEGUN_MS} + i + 31536000000, '[]', '{{}}', 1, 'ory_ak', 1 {numbers}"
    )
}

fn nid(tenant: u64) -> Nid {
    Nid(Uuid::from_u128(0x4000_8000_0000_0000_0000 + u128::from(tenant) + 1))
}

fn key_id(index: u64) -> Result<KeyId, Failure> {
    let scattered = index.wrapping_mul(2_654_435_761) & 0xffff_ffff;
    Ok(KeyId::parse(&format!("{scattered:08x}-0000-4000-8000-{index:012x}"))?)
}

/// A number below `end`, another each time.
fn pick(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % end
}

#[derive(Clone, Copy, Debug)]
enum Read {
    ById,
    Unknown,
    Newest,
    Middle,
    OfActor,
    Revoked,
}

impl Read {
    const ALL: [(Self, &'static str); 6] = [
        (Self::ById, "one key by its id"),
        (Self::Unknown, "an id that is not there"),
        (Self::Newest, "list: the first page of 50"),
        (Self::Middle, "list: a page in the middle"),
        (Self::OfActor, "list: one actor's"),
        (Self::Revoked, "list: the revoked"),
    ];
}

async fn measure(store: &SqlStore, keys: u64, tenants: u64) -> Result<(), Failure> {
    for (read, name) in Read::ALL {
        let mut state = 7;
        let mut times = Vec::new();
        for _ in 0..READS {
            let index = pick(&mut state, keys);
            let begun = Instant::now();
            let found = ask(store, read, index, tenants).await?;
            times.push(begun.elapsed());
            if (found == 0) != matches!(read, Read::Unknown) {
                return Err(format!("{name}: {found} keys were found").into());
            }
        }
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 1_000].as_secs_f64() * 1e6;
        println!("{keys:9}  {name:32}  {:8.0}  {:8.0}  {:8.0}", at(500), at(990), at(1_000));
    }
    Ok(())
}

/// How many keys one read finds.
async fn ask(store: &SqlStore, read: Read, index: u64, tenants: u64) -> Result<usize, Failure> {
    let tenant = nid(index % tenants);
    let scope = Scope::tenant(tenant);
    let kind = KeyKind::Issued;
    let all = KeyFilter { actor_id: None, status: None, now: Timestamp::default() };
    let made = |index: u64| i64::try_from(BEGUN_MS + index).map(Timestamp);
    let found = match read {
        Read::ById => store.keys(scope, kind, vec![key_id(index)?]).await?,
        Read::Unknown => store.keys(scope, kind, vec![key_id(index + (1 << 40))?]).await?,
        Read::Newest => store.list(scope, kind, all, None, PAGE).await?,
        Read::Middle => {
            // The tenant's first key is older than this place.
            let after = (made(index + tenants)?, key_id(index)?);
            store.list(scope, kind, all, Some(after), PAGE).await?
        }
        Read::OfActor => {
            let actor_id = Some(format!("actor-{}", index / tenants % ACTORS));
            store.list(scope, kind, KeyFilter { actor_id, ..all }, None, PAGE).await?
        }
        Read::Revoked => {
            let status = Some(KeyStatus::Revoked);
            store.list(scope, kind, KeyFilter { status, ..all }, None, PAGE).await?
        }
    };
    Ok(found.len())
}
