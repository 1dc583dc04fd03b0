//! Retention: content older than its days goes, and what is left of it still proves that nothing else went.

use std::time::{Duration, Instant};

use bh_domain::money::NanoUsd;
use bh_testkit::{Call, Database, FakeProvider, Gateway, Postgres, Store, on_both_stores};
use serde_json::{Value, json};

use crate::money::{APP, CENT, WEB, call, config, day, entries, gateway, provider, read, tamper};

const NO_POLICIES: [&str; 3] = ["{}"; 3];
const KEPT_A_WEEK: &str = "evidence: {retention_days: 7}\n";
const TEN_DAYS_MS: u64 = 10 * 24 * 60 * 60 * 1000;
/// Retention runs when a gateway starts.
const RUNS_WITHIN: Duration = Duration::from_secs(30);

/// What `audit verify --all` says of each tenant with records: its name, records, tombstones, and whether all is well.
fn verified(gateway: &Gateway) -> Vec<(String, u64, u64, bool)> {
    let told: Value =
        serde_json::from_str(&gateway.cli(&["audit", "verify", "--all", "--json"]).stdout).unwrap();
    let one = |tenant: &Value| {
        let number = |name: &str| tenant[name].as_u64().unwrap();
        let name = tenant["tenant_id"].as_str().unwrap().to_owned();
        (name, number("records"), number("purged"), tenant["valid"] == true)
    };
    let mut tenants: Vec<_> = told.as_array().unwrap().iter().map(one).collect();
    tenants.retain(|(_, records, ..)| *records > 0);
    tenants.sort();
    tenants
}

fn tenant(name: &str, records: u64, purged: u64, valid: bool) -> (String, u64, u64, bool) {
    (name.to_owned(), records, purged, valid)
}

/// A gateway after five calls of `app` and one of `web`, of which the first three of `app` are ten days old. Only their
/// rows say so: nothing else of them is left to contradict it once retention has been there.
async fn aged(store: Store) -> (Gateway, FakeProvider) {
    let provider = provider();
    let yaml = config(&provider, NO_POLICIES, "");
    let mut gateway = gateway(&yaml).store(store).start().await;
    for key in [APP, APP, APP, APP, APP, WEB] {
        assert_eq!(call(&gateway, key).send().await.status, 200);
    }
    assert!(gateway.terminate().await, "{}", gateway.output());
    tamper(
        &gateway,
        &format!("UPDATE evidence SET at_ms = at_ms - {TEN_DAYS_MS} WHERE caller = 'app' AND seq <= 3"),
    );
    gateway.rewrite_config(&config(&provider, NO_POLICIES, KEPT_A_WEEK));
    gateway.restart().await;
    assert!(gateway.prints("old evidence emptied", RUNS_WITHIN).await, "{}", gateway.output());
    (gateway, provider)
}

on_both_stores! {
    async fn what_is_older_than_its_days_leaves_a_tombstone_in_a_tree_that_still_verifies(store) {
        let (gateway, _provider) = aged(store).await;
        let list = entries(&gateway, APP).await;
        let kinds: Vec<(u64, bool)> =
            list.iter().map(|e| (e["seq"].as_u64().unwrap(), e["purged"] == true)).collect();
        assert_eq!(kinds, [(6, false), (5, false), (4, false), (3, true), (2, true), (1, true)]);
        assert_eq!(list[0]["invocation_type"], "retention", "the removal itself is on the record");
        let record = read(&gateway, APP, &format!("/v1/evidence/{}", list[0]["id"].as_str().unwrap())).await;
        let notes: Vec<&str> =
            record["gateway_annotations"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(notes[1..], ["removed=3", "seqs=1-3"]);

        let oldest = list[5]["id"].as_str().unwrap();
        let verdict = read(&gateway, APP, &format!("/v1/evidence/{oldest}/verify")).await;
        assert_eq!(verdict["valid"], json!(true), "{verdict}");
        assert_eq!(verified(&gateway), [tenant("acme", 6, 3, true), tenant("globex", 1, 0, true)]);
        let kept = tamper(&gateway, "SELECT count(*) FROM evidence WHERE purged_ms IS NOT NULL AND record IS NOT NULL");
        assert_eq!(kept, "0", "no content is kept beside a tombstone");
    }

    async fn what_was_spent_stays_spent_when_its_records_are_gone(store) {
        let (gateway, _provider) = aged(store).await;
        let five_cents: NanoUsd = (0..5).map(|_| CENT).sum();
        assert_eq!(day(&gateway, APP, "app").await.settled, five_cents);
        assert_eq!(day(&gateway, WEB, "web").await.settled, CENT);
        assert_eq!(call(&gateway, APP).send().await.status, 200, "the chain goes on");
        assert_eq!(verified(&gateway), [tenant("acme", 7, 3, true), tenant("globex", 1, 0, true)]);
    }

    async fn retention_excuses_no_content_but_what_it_removed(store) {
        let (gateway, _provider) = aged(store).await;
        let young = entries(&gateway, APP).await[1]["id"].as_str().unwrap().to_owned();
        tamper(&gateway, &format!("UPDATE evidence SET record = NULL WHERE id = '{young}'"));
        let run = gateway.cli(&["audit", "verify", "--all"]);
        assert_eq!(run.code, Some(1), "{run}");
        assert!(run.stderr.contains("no record of retention accounts for it"), "{run}");
        let verdict = Call::get(gateway.at(&format!("/v1/evidence/{young}/verify"))).bearer(APP).send().await;
        assert_eq!(verdict.json()["valid"], json!(false), "{}", verdict.text());
    }
}

/// Housekeeping as another replica has it: until this instant, in milliseconds since 1970.
fn claimed_by_another_replica(database: &Database, until_ms: u64) {
    let _none = database.sql(&format!(
        "INSERT INTO meta (nid, name, value) VALUES ('{nil}', 'housekeeping', '{until_ms:020}/{other}') \
         ON CONFLICT (nid, name) DO UPDATE SET value = excluded.value",
        nil = uuid::Uuid::nil(),
        other = uuid::Uuid::max(),
    ));
}

#[tokio::test]
async fn of_several_replicas_one_at_a_time_removes_old_content() {
    let server = Postgres::private();
    let database = server.fresh_database();
    let provider = provider();
    let store = format!(
        "store: {{url: \"{}\"}}\nsecrets: {{master_key: a-master-key-that-replicas-share-01, \
         evidence_key: an-evidence-key-that-replicas-share, signing_key: {signing}}}\n",
        database.url(),
        signing = "5a".repeat(32),
    );
    let mut first = gateway(&config(&provider, NO_POLICIES, &store)).start().await;
    for _ in 0..3 {
        assert_eq!(call(&first, APP).send().await.status, 200);
    }
    assert!(first.terminate().await, "{}", first.output());
    let _none = database.sql(&format!("UPDATE evidence SET at_ms = at_ms - {TEN_DAYS_MS} WHERE seq <= 2"));
    let far = 1_000 * 1_000 * TEN_DAYS_MS;
    claimed_by_another_replica(&database, far);

    let keeping = config(&provider, NO_POLICIES, &format!("{store}{KEPT_A_WEEK}"));
    first.rewrite_config(&keeping);
    first.restart().await;
    let mut second = gateway(&keeping).start().await;
    for replica in [&first, &second] {
        let told = replica.prints("another replica does the housekeeping", RUNS_WITHIN).await;
        assert!(told, "{}", replica.output());
    }
    let emptied = || database.sql("SELECT count(*) FROM evidence WHERE purged_ms IS NOT NULL");
    assert_eq!(emptied(), "0", "neither does what another one has taken");

    // That one has died: its claim runs out, and one of the two takes over.
    claimed_by_another_replica(&database, 1);
    for replica in [&mut first, &mut second] {
        assert!(replica.terminate().await, "{}", replica.output());
        replica.restart().await;
    }
    let deadline = Instant::now() + RUNS_WITHIN;
    while emptied() != "2" || verified(&first) != [tenant("acme", 4, 2, true)] {
        assert!(Instant::now() < deadline, "{} {:?}", emptied(), verified(&first));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = [&first, &second].map(|replica| replica.output().matches("old evidence emptied").count());
    assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
}
