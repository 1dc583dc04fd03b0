//! `kill -9` in the middle of everything, and what is left of the money and the evidence afterwards.

use std::collections::HashSet;
use std::time::Duration;

use bh_domain::evidence::checkpoint::PublicKey;
use bh_domain::evidence::export::verify_export;
use bh_domain::money::NanoUsd;
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Script, Store, on_both_stores};
use serde_json::json;

use crate::money::{
    APP, CENT, Day, at_once, call, config, count_of, day, entries, gateway, read, sum, tamper,
};

/// What the cap is worth, in calls.
const CAP_CALLS: i64 = 50;
/// Calls at once before the kill, and after the restart.
const CALLS: usize = 200;
const CALLS_AFTER: usize = 80;

/// Small, reproducible chance (splitmix64): which run this is decides delays and the moment of the kill.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A provider that takes its time, by the seed.
fn slow_provider(seed: u64) -> FakeProvider {
    let provider = FakeProvider::start();
    let chance = std::sync::Mutex::new(Chance(seed));
    provider.on(move |_| {
        let delay = chance.lock().unwrap().below(100);
        let usage = json!({"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17});
        let body = json!({"choices": [], "usage": usage});
        Some(Script::json(200, &body).after(Duration::from_millis(delay)))
    });
    provider
}

/// Sends the calls, spread over a moment, and kills the gateway once so many have reached the provider and a little
/// more time has passed, `after_one` not before one of them has been answered. Returns the ids of the calls whose answers arrived
/// whole.
async fn killed_among_calls(
    gateway: &mut Gateway,
    provider: &FakeProvider,
    chance: &mut Chance,
    after_one: bool,
) -> HashSet<String> {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let (call, start) = (call(gateway, APP), Duration::from_millis(chance.below(200)));
        running.spawn(async move {
            tokio::time::sleep(start).await;
            call.try_send().await
        });
    }
    let reached = usize::try_from(1 + chance.below(CAP_CALLS.unsigned_abs())).unwrap();
    assert!(provider.hits_reach(reached, Duration::from_secs(20)).await);
    tokio::time::sleep(Duration::from_millis(chance.below(60))).await;
    let mut answers = Vec::new();
    let is_whole = |answer: &Answer| answer.status == 200;
    while after_one && !answers.iter().any(is_whole) {
        answers.extend(running.join_next().await.expect("one of them is answered").unwrap());
    }
    gateway.kill9();
    answers.extend(running.join_all().await.into_iter().flatten());
    let whole = answers.into_iter().filter(is_whole);
    whole.map(|answer| answer.header("x-bulkhead-request-id").unwrap().to_owned()).collect()
}

/// Every record is in the chain and in the signed tree, as the public key alone tells.
async fn evidence_is_whole(gateway: &Gateway, records: usize) {
    let body = json!({"format": "signed-json", "limit": 1_000_000});
    let export = Call::post(gateway.at("/v1/evidence/export"), &body).bearer(APP).send().await;
    let checkpoint = read(gateway, APP, "/v1/evidence/checkpoint").await;
    let key = PublicKey::parse(checkpoint["public_key"].as_str().unwrap()).unwrap();
    let report = verify_export(&export.body, &key).unwrap();
    assert_eq!(report.records, records as u64);
    assert_eq!(report.groups[0].seqs, [[1, records as u64]], "no gap");
    assert_eq!(checkpoint["size"], records);
    let newest =
        read(gateway, APP, "/v1/evidence?limit=1").await["entries"][0]["id"].as_str().unwrap().to_owned();
    let verdict = read(gateway, APP, &format!("/v1/evidence/{newest}/verify")).await;
    assert_eq!(verdict["valid"], true, "{verdict}");
}

/// One run; how many calls had reached the provider and left no record when the gateway was killed, and how many had.
async fn a_run(store: Store, seed: u64, after_one: bool) -> (usize, usize) {
    let provider = slow_provider(seed);
    let config = config(&provider, ["{max_daily_cost: 0.50}", "{}", "{}"], "");
    let mut gateway = gateway(&config).store(store).start().await;
    let mut chance = Chance(seed ^ 0x5eed);
    let acknowledged = killed_among_calls(&mut gateway, &provider, &mut chance, after_one).await;
    let reached = provider.hits();
    // On SQLite the next process knows that the last one is dead. Replicas have to be silent for a while first.
    if store == Store::Postgres {
        tamper(&gateway, "UPDATE holders SET seen_ms = 0");
    }
    gateway.restart().await;

    let found = entries(&gateway, APP).await;
    let recorded: HashSet<&str> = found.iter().filter_map(|record| record["id"].as_str()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !recorded.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "seed {seed}: acknowledged and not on record: {lost:?}");
    let proven = found.iter().filter(|record| record["allowed"] == true).count();
    let open = reached.saturating_sub(proven);
    let unproven = CENT.times(i64::try_from(open).unwrap());
    let after_crash = day(&gateway, APP, "app").await;
    let stranded = match store {
        Store::Sqlite => after_crash.unsettled,
        // Counted against the cap all the same, under one name or the other.
        Store::Postgres => after_crash.unsettled + after_crash.leased,
    };
    assert!(
        stranded >= unproven,
        "seed {seed}: {stranded} set aside, {unproven} reached the provider unproven"
    );

    let answers = at_once(&call(&gateway, APP), CALLS_AFTER).await;
    assert_eq!(count_of(&answers, 200) + count_of(&answers, 403), CALLS_AFTER, "seed {seed}");
    let records = entries(&gateway, APP).await;
    let Day { settled, leased, unsettled } = day(&gateway, APP, "app").await;
    assert!(
        provider.hits() <= CAP_CALLS as usize,
        "seed {seed}: {} calls reached the provider",
        provider.hits()
    );
    assert_eq!(settled, sum(&records), "seed {seed}");
    assert!(
        settled + leased + unsettled <= CENT.times(CAP_CALLS),
        "seed {seed}: {settled} {leased} {unsettled}"
    );
    let spent_after = count_of(&answers, 200) + proven;
    assert_eq!(settled, CENT.times(i64::try_from(spent_after).unwrap()), "seed {seed}");
    if store == Store::Sqlite {
        assert_eq!(unsettled, after_crash.unsettled, "seed {seed}: it stays until its window ends");
        assert!(leased < CENT, "seed {seed}: every whole call that was free has been spent: {leased}");
    }
    evidence_is_whole(&gateway, records.len()).await;
    (open, proven)
}

fn runs(store: Store, seeds: std::ops::Range<u64>) {
    bh_testkit::run_scenario(async {
        let (mut open, mut proven, last) = (0, 0, seeds.end - 1);
        for seed in seeds {
            // A machine that is slow enough kills each of them before anything is durable: then the last one waits for that.
            let after_one = seed == last && proven == 0;
            let run = a_run(store, seed, after_one).await;
            (open, proven) = (open + run.0, proven + run.1);
        }
        assert!(open > 0 && proven > 0, "no kill came in the middle: {open} calls open, {proven} on record");
    });
}

/// Acceptance 4: after a `kill -9` in the middle no cap is passed, no book lies and no acknowledged call is lost.
mod a_kill_in_the_middle_loses_no_evidence_and_passes_no_cap {
    use super::{Store, runs};

    #[test]
    fn on_sqlite_with_seeds_0_to_4() {
        runs(Store::Sqlite, 0..5);
    }

    #[test]
    fn on_sqlite_with_seeds_5_to_9() {
        runs(Store::Sqlite, 5..10);
    }

    #[test]
    fn on_sqlite_with_seeds_10_to_14() {
        runs(Store::Sqlite, 10..15);
    }

    #[test]
    fn on_sqlite_with_seeds_15_to_19() {
        runs(Store::Sqlite, 15..20);
    }

    #[test]
    fn on_postgres_with_seeds_20_to_24() {
        runs(Store::Postgres, 20..25);
    }
}

on_both_stores! {
    /// A graceful end settles or gives back everything: the next process finds the whole rest of the cap.
    async fn a_graceful_end_leaves_nothing_unsettled(store) {
        let provider = slow_provider(1);
        let config = config(&provider, ["{max_daily_cost: 0.50}", "{}", "{}"], "");
        let mut gateway = gateway(&config).store(store).start().await;
        let running = tokio::spawn({
            let call = call(&gateway, APP);
            async move { at_once(&call, 20).await }
        });
        assert!(provider.hits_reach(20, Duration::from_secs(10)).await);
        assert!(gateway.terminate().await, "{}", gateway.output());
        assert_eq!(count_of(&running.await.unwrap(), 200), 20, "calls under way finish");
        gateway.restart().await;
        let spent = Day { settled: CENT.times(20), leased: NanoUsd::ZERO, unsettled: NanoUsd::ZERO };
        assert_eq!(day(&gateway, APP, "app").await, spent);
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 40).await, 200), 30);
        evidence_is_whole(&gateway, 60).await;
    }
}

/// What a replica had leased when it died is told apart once it has been silent for long enough.
#[test]
fn what_a_dead_replica_had_leased_is_told_as_unsettled() {
    bh_testkit::run_scenario(async {
        let provider = FakeProvider::start();
        provider.on(|_| Some(Script::hang()));
        let config = config(&provider, ["{max_daily_cost: 0.50}", "{}", "{}"], "");
        let mut gateway = gateway(&config).store(Store::Postgres).start().await;
        let hanging = tokio::spawn({
            let call = call(&gateway, APP);
            async move { call.try_send().await }
        });
        assert!(provider.hits_reach(1, Duration::from_secs(10)).await);
        gateway.kill9();
        assert!(hanging.await.unwrap().is_err());
        // Thirty seconds of silence, made short.
        tamper(&gateway, "UPDATE holders SET seen_ms = 0");
        gateway.restart().await;
        let mut told = day(&gateway, APP, "app").await;
        for _ in 0..300 {
            if told.unsettled > NanoUsd::ZERO {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            told = day(&gateway, APP, "app").await;
        }
        assert!(told.unsettled >= CENT, "the call that hung may have cost a cent: {told:?}");
        assert_eq!((told.settled, told.leased), (NanoUsd::ZERO, NanoUsd::ZERO));
    });
}
