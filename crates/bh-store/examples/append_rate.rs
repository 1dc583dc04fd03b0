//! How fast a store makes evidence durable, and at what cost in CPU time.
//!
//! `cargo run --release -p bh-store --example append_rate -- [URL] [SECONDS] [TENANTS]`: URL is a path, `sqlite:PATH`
//! or `postgres://…` (a file in the current directory by default). One line per batch size.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bh_app::ports::{
    Appended, Batch, EvidenceStore as _, HeadUpdate, Holder, RecordRow, SpendDelta, UsageDelta, UsageKey,
    UsageSums,
};
use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::usage::{Hour, Latency, UsageKind};
use bh_store::{Options, open};
use uuid::Uuid;

const BATCH_SIZES: [usize; 5] = [1, 16, 64, 256, 1_024];
const RECORD_BYTES: usize = 1_300;
const FRONTIER_BYTES: usize = 20 * 32;
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "append_rate.db".to_owned());
    let seconds = args.next().map_or(Ok(3), |text| text.parse())?;
    let tenants = args.next().map_or(Ok(10), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(&url, Duration::from_secs(seconds), tenants))
}

async fn measure(url: &str, time: Duration, tenants: usize) -> Result<(), Failure> {
    let store = open(url, Options::default()).await?;
    let mut log = Log::new(tenants);
    println!("batch  records/s  CPU us/record  commit p50 ms  p99 ms  max ms");
    for size in BATCH_SIZES {
        let (start, cpu) = (Instant::now(), cpu_time()?);
        let (mut written, mut commits) = (0_usize, Vec::new());
        let mut building = Duration::ZERO;
        while start.elapsed() < time {
            let built = cpu_time()?;
            let batch = Arc::new(log.batch(size));
            building += cpu_time()?.saturating_sub(built);
            let begun = Instant::now();
            let outcome = store.append(batch).await?;
            commits.push(begun.elapsed());
            if outcome != Appended::Durable {
                return Err("another process appends to these tenants".into());
            }
            written += size;
        }
        let rate = written as f64 / start.elapsed().as_secs_f64();
        let used =
            (cpu_time()?.saturating_sub(cpu).saturating_sub(building)).as_secs_f64() * 1e6 / written as f64;
        commits.sort_unstable();
        let at = |part: usize| commits[(commits.len() - 1) * part / 1_000].as_secs_f64() * 1e3;
        println!("{size:5}  {rate:9.0}  {used:13.1}  {:13.2}  {:6.2}  {:6.2}", at(500), at(990), at(1_000));
    }
    store.close().await;
    Ok(())
}

/// Chains of several tenants that grow in turn.
struct Log {
    heads: Vec<(Nid, u64)>,
    next: usize,
    record: Arc<str>,
}

impl Log {
    fn new(tenants: usize) -> Self {
        let filler = r#""field_name":"some value of usual length","n":12345,"#;
        let record = format!("{{{}\"end\":1}}", filler.repeat(RECORD_BYTES / filler.len()));
        let heads = (0..tenants).map(|_| (Nid(Uuid::now_v7()), 0)).collect();
        Self { heads, next: 0, record: record.into() }
    }

    fn batch(&mut self, size: usize) -> Batch {
        let before = self.heads.clone();
        let mut batch = Batch { holder: Holder(Uuid::from_u128(1)), ..Batch::default() };
        for _ in 0..size {
            let place = self.next % self.heads.len();
            self.next += 1;
            let (nid, seq) = &mut self.heads[place];
            *seq += 1;
            batch.records.push(record(*nid, *seq, Arc::clone(&self.record)));
        }
        for ((nid, from_seq), (_, to_seq)) in before.iter().zip(&self.heads) {
            if from_seq != to_seq {
                let frontier = vec![7; FRONTIER_BYTES];
                let (nid, from_seq, to_seq) = (*nid, *from_seq, *to_seq);
                batch.heads.push(HeadUpdate { nid, from_seq, to_seq, leaf_hash: [9; 32], frontier });
                let spent = spent(nid);
                batch.usage.push(used(nid, &spent));
                batch.spend.push(spent);
            }
        }
        batch
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or_default())
}

fn record(nid: Nid, seq: u64, record: Arc<str>) -> RecordRow {
    RecordRow {
        nid,
        seq,
        id: format!("req_{}", Uuid::now_v7().simple()),
        at: now(),
        leaf_hash: [9; 32],
        caller: "customer-support-app".to_owned(),
        invocation_type: "llm_call".to_owned(),
        allowed: true,
        model: "gpt-5-mini".to_owned(),
        session_id: None,
        record,
    }
}

fn spent(nid: Nid) -> SpendDelta {
    SpendDelta {
        nid,
        owner: Owner::Caller("customer-support-app".to_owned()),
        window: "2026-11-21".to_owned(),
        calls: 1,
        denied: 0,
        failed: 0,
        tokens: TokenCounts { input: 900, output: 200, ..TokenCounts::default() },
        cost: NanoUsd(1_250_000),
    }
}

fn used(nid: Nid, spent: &SpendDelta) -> UsageDelta {
    let names = ["customer-support-app", "openai", "gpt-5-mini"];
    let key = UsageKey::new(nid, Hour::of(now()), UsageKind::Llm, names);
    let (tokens, cost, latency) = (spent.tokens, spent.cost, Latency::one(850));
    UsageDelta { key, sums: UsageSums { requests: 1, tokens, cost, latency, ..UsageSums::default() } }
}

/// CPU time of the whole process, the database's own thread included.
fn cpu_time() -> Result<Duration, Failure> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let ns = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        total += Duration::from_nanos(ns);
    }
    Ok(total)
}
