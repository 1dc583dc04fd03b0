//! The sealed store when processes die, and when a tenant is deleted (acceptance 5; CONN-71).

use std::time::Duration;

use bh_testkit::{Call, FakeProvider, on_both_stores};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::llm_setup::{CHAT, PRICES, config, providers};
use crate::money::tamper;
use crate::vault_setup::{House, SECRETS, TENANTS, builder, secret, until};

/// What a kill may come in the middle of is another each time.
const SEEDS: u64 = 10;
const TENANTS_OF_SEEDS: usize = 12;
const SECRETS_EACH: usize = 3;
/// Tenants that are deleted while the gateway is killed, and how many of them at once.
const DELETED_MAX: usize = 40;
const DELETED_AT_ONCE: usize = 5;

fn tenant(n: usize) -> String {
    format!("t{n}")
}

/// Asks for rotations of everything at once, and kills the gateway in the middle.
async fn killed_among(house: &mut House, seed: u64) {
    let mut running = JoinSet::new();
    let mut calls = vec![house.call("POST", &format!("{SECRETS}/rotate-master"), None)];
    for n in 0..TENANTS_OF_SEEDS {
        if (n as u64 + seed).is_multiple_of(3) {
            calls.push(house.call("POST", &format!("{TENANTS}/{}/rotate-data-key", tenant(n)), None));
        }
        let value = json!({"value": format!("seed {seed}")});
        calls.push(house.call("PUT", &secret(&tenant(n), "s0"), Some(&value)));
    }
    if seed % 2 == 1 {
        calls.push(house.call("POST", &format!("{SECRETS}/rotate-master"), Some(&json!({"finish": true}))));
    }
    for call in calls {
        running.spawn(async move { drop(call.try_send().await) });
    }
    let enough = usize::try_from(seed).unwrap();
    for _ in 0..enough {
        running.join_next().await;
    }
    tokio::time::sleep(Duration::from_micros(seed * 1_733 % 9_000)).await;
    house.0.kill9();
    running.join_all().await;
}

on_both_stores! {
    async fn a_kill_in_the_middle_of_rotations_loses_nothing_and_they_go_on(store) {
        let mut house = House(builder(store, "").start().await);
        for n in 0..TENANTS_OF_SEEDS {
            house.make(&tenant(n)).await;
            for at in 0..SECRETS_EACH {
                house.put(&tenant(n), &format!("s{at}"), "v").await;
            }
        }
        let secrets = (TENANTS_OF_SEEDS * SECRETS_EACH) as u64;
        for seed in 0..SEEDS {
            killed_among(&mut house, seed).await;
            house.0.restart().await;
            let (_, found, unreadable) = house.verified().await;
            assert_eq!((found, unreadable), (secrets, vec![]), "seed {seed}");
        }
        // Asked again, everything is brought to its end.
        house.rotate_master().await;
        let master = house.done("GET", &format!("{SECRETS}/master-key"), None, 200).await;
        assert_eq!(master["inForce"], master["current"]);
        assert_eq!(house.finish().await.status, 200);
        assert_eq!(tamper(&house.0, "SELECT count(DISTINCT master_id) FROM data_keys"), "1");
        for n in 0..TENANTS_OF_SEEDS {
            house.done("POST", &format!("{TENANTS}/{}/rotate-data-key", tenant(n)), None, 200).await;
        }
        assert_eq!(tamper(&house.0, "SELECT count(*) FROM data_keys WHERE state = 1"), "0");
        let (_, found, unreadable) = house.verified().await;
        assert_eq!((found, unreadable), (secrets, vec![]));
    }

    /// Proves: CONN-71
    async fn a_kill_in_the_middle_of_deletions_leaves_no_tenant_half_shredded(store) {
        let mut house = House(builder(store, "").start().await);
        let ids: Vec<String> = (0..DELETED_MAX).map(tenant).collect();
        for id in &ids {
            house.make(id).await;
            house.put(id, "a", "v").await;
            house.put(id, "b", "v").await;
        }
        for (seed, round) in ids.chunks(DELETED_AT_ONCE).enumerate() {
            let mut running = JoinSet::new();
            for id in round {
                let call = house.call("DELETE", &format!("{TENANTS}/{id}?confirm=true"), None);
                running.spawn(async move { drop(call.try_send().await) });
            }
            for _ in 0..seed % DELETED_AT_ONCE {
                running.join_next().await;
            }
            tokio::time::sleep(Duration::from_micros(seed as u64 * 1_733 % 5_000)).await;
            house.0.kill9();
            running.join_all().await;
            house.0.restart().await;
        }
        let mut whole = 0;
        for id in &ids {
            let left = |table: &str| {
                tamper(&house.0, &format!("SELECT count(*) FROM {table} WHERE nid = (SELECT nid FROM tenants WHERE id = '{id}')"))
            };
            let there = house.ask("GET", &format!("{TENANTS}/{id}"), None).await.status == 200;
            let wanted = if there { ["1", "2"] } else { ["0", "0"] };
            assert_eq!([left("data_keys"), left("tenant_secrets")], wanted, "{id} is there: {there}");
            whole += u64::from(there);
        }
        assert_eq!(house.verified().await, (1 + whole, 2 * whole, vec![]));
    }

    /// Proves: CONN-71
    async fn a_deleted_tenants_data_cannot_be_read_and_its_evidence_still_proves_itself(store) {
        let provider = FakeProvider::start();
        let more = format!("{PRICES}evidence: {{store_prompts: true}}\n");
        let yaml = config(&providers(provider.url()), "{}", &more);
        let mut house = House(builder(store, &yaml).start().await);
        let chat = json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
        let mut records = Vec::new();
        for id in ["corp", "globex"] {
            let key = house.make(id).await;
            house.put(id, "db", "v").await;
            let answer = Call::post(house.0.at(CHAT), &chat).bearer(&key).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            records.push(answer.header("x-bulkhead-request-id").unwrap().to_owned());
        }
        until("the prompts are kept", async || tamper(&house.0, "SELECT count(*) FROM evidence_contents") == "2").await;
        let of = |what: &str| format!("SELECT {what} WHERE nid = (SELECT nid FROM tenants WHERE id = 'corp')");
        let wrapped = tamper(&house.0, &of(if house.0.database().is_some() { "encode(wrapped, 'hex') FROM data_keys" } else { "hex(wrapped) FROM data_keys" }));
        assert_eq!(wrapped.len(), 120);
        house.done("DELETE", &format!("{TENANTS}/corp?confirm=true"), None, 200).await;
        for table in ["data_keys", "tenant_secrets"] {
            assert_eq!(tamper(&house.0, &of(&format!("count(*) FROM {table}"))), "0", "{table}");
        }
        let (status, code, _) = house.refused("PUT", &secret("corp", "db"), Some(&json!({"value": "v"}))).await;
        assert_eq!((status, code.as_str()), (404, "TENANT_NOT_FOUND"));
        for (record, of) in records.iter().zip(["corp", "globex"]) {
            let proof = house.done_raw(&format!("/v1/evidence/{record}/verify?tenant_id={of}")).await;
            assert_eq!(proof["valid"], json!(true), "{proof}");
        }
        let trail = house.done("GET", &format!("{TENANTS}/corp/audit"), None, 200).await;
        let told = |action: &str| trail.as_array().unwrap().iter().any(|event| event["action"] == json!(action));
        assert!(told("tenant.deleted") && told("secret.stored"), "{trail}");
        // Others keep theirs.
        house.done("GET", &secret("globex", "db"), None, 200).await;
        assert_eq!(house.verified().await, (2, 1, vec![]));
        // What the data key sealed goes at the next housekeeping, which begins with the start.
        house.0.restart().await;
        until("its prompt is forgotten", async || tamper(&house.0, "SELECT count(*) FROM evidence_contents") == "1").await;
        assert!(house.0.terminate().await);
        // And the key itself is not in the file any more.
        let bytes: Vec<u8> = (0..wrapped.len() / 2).map(|n| u8::from_str_radix(&wrapped[2 * n..2 * n + 2], 16).unwrap()).collect();
        for (path, content) in house.0.files() {
            assert!(!content.windows(bytes.len()).any(|window| window == bytes), "the key is in {}", path.display());
        }
    }
}

impl House {
    /// The body of a good answer that has no envelope.
    async fn done_raw(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}
