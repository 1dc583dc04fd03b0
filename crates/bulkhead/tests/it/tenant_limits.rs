//! Requests per minute, hour and day of a tenant (seed 001, "Rate Limiting"), at every door that its keys open.

use bh_domain::keys::format::{Prefix, mint};
use bh_domain::keys::secrets::KeySecrets;
use bh_domain::time::Timestamp;
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::llm_setup::{CHAT, PRICES, binary, chat, config, providers};
use crate::money::{at_once, count_of};

pub(crate) const ADMIN_KEY: &str = "ops-admin-key-7f21c9";
const TENANTS: &str = "/api/v1/admin/tenants";
const COSTS: &str = "/v1/costs";

/// A gateway with tenants, and the operator who made them.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) provider: FakeProvider,
}

impl House {
    pub(crate) async fn start(store: Store, more: &str) -> Self {
        let provider = FakeProvider::start();
        let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{more}"));
        let gateway = binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        Self { gateway, provider }
    }

    /// Makes a tenant and returns its key.
    pub(crate) async fn tenant(&self, id: &str, more: Value) -> String {
        let mut body = json!({"id": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = Call::post(self.gateway.at(TENANTS), &body).bearer(ADMIN_KEY).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["data"]["apiKey"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn limited(&self, id: &str, limits: Value) -> String {
        self.tenant(id, json!({"limits": limits})).await
    }

    pub(crate) fn chat(&self, key: &str) -> Call {
        Call::post(self.gateway.at(CHAT), &chat("thinker")).bearer(key)
    }

    pub(crate) fn read(&self, key: &str, path: &str) -> Call {
        Call::get(self.gateway.at(path)).bearer(key)
    }
}

pub(crate) fn number(answer: &Answer, header: &str) -> u64 {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {}", answer.text()));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}

fn left(answer: &Answer) -> (u64, u64) {
    (number(answer, "x-ratelimit-limit"), number(answer, "x-ratelimit-remaining"))
}

on_both_stores! {
    /// Proves: CONN-21
    async fn a_tenant_is_held_to_its_limits_per_minute_hour_and_day_and_no_other_tenant_is(store) {
        let house = House::start(store, "").await;
        let free = house.limited("free", json!({})).await;
        for (id, limits, max) in [
            ("minute", json!({"requestsPerMinute": 5}), 5),
            ("hour", json!({"requestsPerHour": 3}), 3),
            ("day", json!({"requestsPerDay": 2, "requestsPerHour": 40}), 2),
        ] {
            let key = house.limited(id, limits).await;
            let hits = house.provider.hits();
            let answers = at_once(&house.chat(&key), max + 1).await;
            assert_eq!((count_of(&answers, 200), count_of(&answers, 429)), (max, 1), "{id}");
            assert_eq!(house.provider.hits(), hits + max, "{id}: what is refused reaches nobody");
            let refused = house.chat(&key).send().await;
            assert_eq!((refused.status, &refused.json()["error"]["limited"]), (429, &json!("tenant")));
            assert_eq!(house.chat(&free).send().await.status, 200, "{id} is not the others' concern");
        }
        // The longest window says when to come back.
        let day = house.limited("another", json!({"requestsPerMinute": 100, "requestsPerDay": 1})).await;
        assert_eq!(house.chat(&day).send().await.status, 200);
        let refused = house.chat(&day).send().await;
        assert!(number(&refused, "retry-after") > 80_000, "{:?}", refused.header("retry-after"));
        assert_eq!(refused.header("ratelimit-policy"), Some("\"requests\";q=1;w=86400"));
    }

    async fn every_door_that_a_tenant_s_key_opens_counts_and_each_request_once(store) {
        let house = House::start(store, "").await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 10})).await;
        let doors = [COSTS, "/v1/evidence", "/v1/status", "/api/v1/audit", "/v1/models", "/api/v1/categories", "/v1/evidence/none"];
        let mut expected = 10;
        for path in doors {
            let answer = house.read(&key, path).send().await;
            expected -= 1;
            assert_eq!(left(&answer), (10, expected), "{path}: {}", answer.text());
        }
        let answer = house.chat(&key).send().await;
        assert_eq!((answer.status, left(&answer)), (200, (10, 2)));
        // Neither operators nor strangers nor what is open to all have a part in it.
        for call in [
            house.read(ADMIN_KEY, COSTS),
            house.read(ADMIN_KEY, TENANTS),
            house.read("nobody-s-key", COSTS),
            house.read(&key, "/healthz"),
        ] {
            assert_eq!(call.send().await.header("x-ratelimit-limit"), None);
        }
        // Keys are verified by services, who have limits of their own.
        let verify = json!({"credential": key});
        let path = house.gateway.at("/v2alpha1/admin/apiKeys:verify");
        let verified = Call::post(path, &verify).bearer(ADMIN_KEY).header("x-tenant-id", "acme-corp").send().await;
        assert_eq!((verified.status, verified.header("x-ratelimit-limit")), (200, None), "{}", verified.text());
        assert_eq!(left(&house.read(&key, COSTS).send().await), (10, 1));
    }

    /// Proves: CONN-22
    async fn a_429_tells_when_to_come_back_in_the_words_of_each_door(store) {
        let house = House::start(store, "").await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 1})).await;
        assert_eq!(house.read(&key, COSTS).send().await.status, 200);
        for path in [COSTS, "/v1/evidence", "/api/v1/audit", "/api/v1/categories"] {
            let refused = house.read(&key, path).send().await;
            assert_eq!(refused.status, 429, "{path}: {}", refused.text());
            let body = refused.json();
            let wait = number(&refused, "retry-after");
            assert!((1..=3_600).contains(&wait), "{wait}");
            assert_eq!((&body["error"], &body["retryAfter"]), (&json!("Rate limit exceeded"), &json!(wait)), "{path}");
            assert_eq!(left(&refused), (1, 0), "{path}");
            if path.starts_with("/api/v1/") {
                let told = (&body["success"], &body["code"], &body["limits"]["limit"], &body["limits"]["scope"]);
                assert_eq!(told, (&json!(false), &json!("RATE_LIMITED"), &json!(1), &json!("tenant")), "{body}");
            }
        }
        let openai = house.chat(&key).send().await;
        let error = &openai.json()["error"];
        assert_eq!((openai.status, &error["code"]), (429, &json!("rate_limited")));
        assert_eq!(error["message"], json!("Rate limit exceeded"));
        let models = house.read(&key, "/v1/models").header("anthropic-version", "2023-06-01").send().await;
        assert_eq!((models.status, &models.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    }

    /// Proves: CONN-23
    async fn limits_are_told_with_every_answer_and_count_down(store) {
        let house = House::start(store, "").await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 20})).await;
        let mut before = None;
        for turn in 0..6 {
            let call = if turn % 2 == 0 { house.chat(&key) } else { house.read(&key, COSTS) };
            let answer = call.send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let (limit, remaining) = left(&answer);
            assert_eq!(limit, 20);
            assert!(before.is_none_or(|before| before == remaining + 1), "{before:?}, then {remaining}");
            before = Some(remaining);
            let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
            let reset = number(&answer, "x-ratelimit-reset");
            assert!((now..=now + 3_601).contains(&reset), "epoch seconds: {reset}, now {now}");
            assert_eq!(answer.header("ratelimit-policy"), Some("\"requests\";q=20;w=3600"));
            let draft = answer.header("ratelimit").unwrap();
            assert!(draft.starts_with(&format!("\"requests\";r={remaining};t=")), "{draft}");
        }
        assert_eq!(before, Some(14));
    }

    async fn what_a_tenant_s_limit_refuses_costs_its_keys_nothing(store) {
        let house = House::start(store, "rate_limit: {enabled: true}\n").await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 2})).await;
        let issue = json!({"name": "ci", "scopes": ["llm", "read"], "rate_limit_policy": {"quota": 3, "window": "3600s"}});
        let path = house.gateway.at("/v2alpha1/admin/issuedApiKeys");
        let issued = Call::post(path, &issue).bearer(ADMIN_KEY).header("x-tenant-id", "acme-corp").send().await;
        let own = issued.json()["secret"].as_str().unwrap_or_else(|| panic!("{}", issued.text())).to_owned();
        assert_eq!(house.read(&key, COSTS).send().await.status, 200);
        assert_eq!(house.read(&own, COSTS).send().await.status, 200);
        for _ in 0..4 {
            assert_eq!(house.read(&own, COSTS).send().await.json()["limited"], json!("tenant"));
        }
        let widen = json!({"limits": {"requestsPerHour": 100_000_000}});
        let path = house.gateway.at(&format!("{TENANTS}/acme-corp"));
        assert_eq!(Call::new("PATCH", path).json(&widen).bearer(ADMIN_KEY).send().await.status, 200);
        let answers = at_once(&house.read(&own, COSTS), 3).await;
        assert_eq!((count_of(&answers, 200), count_of(&answers, 429)), (2, 1), "two of its three were left");
    }

    async fn a_function_that_is_switched_off_for_a_tenant_is_refused_to_it_and_to_no_other(store) {
        let house = House::start(store, "").await;
        let off = house.tenant("off", json!({"features": {"customServers": false, "oauth": false}})).await;
        let on = house.tenant("on", json!({})).await;
        for (path, feature, served) in [
            ("/api/v1/mcp/custom", "customServers", 200),
            ("/api/v1/mcp/integrations", "customServers", 200),
            ("/api/v1/tenants/off/integrations", "oauth", 501),
            ("/api/v1/tenants/off/integrations/github/oauth", "oauth", 501),
            ("/api/v1/tenants/off/oauth/start", "oauth", 501),
        ] {
            let refused = house.read(&off, path).send().await;
            let error = &refused.json()["error"];
            assert_eq!((refused.status, &error["code"]), (403, &json!("FEATURE_DISABLED")), "{path}");
            assert_eq!(error["context"]["feature"], json!(feature), "{path}");
            let theirs = house.read(&on, &path.replace("/off/", "/on/")).send().await;
            assert_eq!(theirs.status, served, "{path}: {}", theirs.text());
        }
        // What is no part of it goes on, and what is switched on again works at once.
        assert_eq!(house.read(&off, "/api/v1/tenants/off/servers").send().await.status, 501);
        let back = json!({"features": {"oauth": true}});
        let path = house.gateway.at(&format!("{TENANTS}/off"));
        assert_eq!(Call::new("PATCH", path).json(&back).bearer(ADMIN_KEY).send().await.status, 200);
        assert_eq!(house.read(&off, "/api/v1/tenants/off/integrations").send().await.status, 501);
        assert_eq!(house.read(&off, "/api/v1/mcp/custom").send().await.status, 403);
    }

    /// Whoever makes keys up gets 401 each time, and holders of good ones notice nothing: none is locked out, or refused,
    /// or counted for it.
    async fn a_flood_of_unknown_keys_locks_nobody_out(store) {
        let house = House::start(store, "").await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 50})).await;
        assert_eq!(house.read(&key, COSTS).send().await.status, 200);
        let mut flood = tokio::task::JoinSet::new();
        for flooder in 0..FLOODERS {
            let (url, good) = (house.gateway.at(COSTS), key.clone());
            flood.spawn(async move {
                let mut refused = 0;
                for turn in 0..UNKNOWN_KEYS {
                    let key = made_up(&good, flooder * UNKNOWN_KEYS + turn);
                    let answer = Call::get(url.clone()).bearer(&key).header("x-tenant-id", "acme-corp").send().await;
                    refused += usize::from(answer.status == 401);
                }
                refused
            });
        }
        for turn in 2..=20 {
            let answer = house.read(&key, COSTS).send().await;
            assert_eq!((answer.status, left(&answer)), (200, (50, 50 - turn)), "{}", answer.text());
        }
        assert_eq!(flood.join_all().await, vec![UNKNOWN_KEYS; FLOODERS]);
        let after = house.read(&key, COSTS).send().await;
        assert_eq!((after.status, left(&after)), (200, (50, 29)));
        // A good key that nobody has shown yet is found as well.
        let fresh = house.limited("globex", json!({})).await;
        assert_eq!(house.read(&fresh, COSTS).send().await.status, 200);
    }
}

/// Who make keys up at the same time, and how many each: some are of the form of good ones.
const FLOODERS: usize = 8;
const UNKNOWN_KEYS: usize = 60;

/// A key that was never issued: like a good one but for its checksum, the same with an id of its own, or any text.
fn made_up(good: &str, number: usize) -> String {
    let (prefix, _) = good.split_once("_v1_").unwrap();
    let minted = |id: Uuid| {
        let secrets =
            KeySecrets::new("another-installation-s-secret-of-32".to_owned().into(), Vec::new()).unwrap();
        let prefix = Prefix::issued(prefix).unwrap();
        mint(&secrets, &prefix, Timestamp(1_795_000_000_000), id, &[7; 16]).expose_secret().to_owned()
    };
    match number % 3 {
        0 => minted(Uuid::from_u128(number as u128)),
        1 => minted(Uuid::now_v7()),
        _ => format!("sk-{number}"),
    }
}
