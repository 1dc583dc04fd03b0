//! Webhooks through the real binary: signed, tried again, given up, told again (issue 4 §3).

use std::path::Path;
use std::time::{Duration, Instant};

use bh_testkit::{Call, Ending, FakeProvider, Recorded, Script, Store, on_both_stores, sdk};
use serde_json::{Value, json};

use crate::keys_setup::ISSUED;
use crate::money::reload;
use crate::verify_setup::metric;
use crate::webhooks_setup::{
    OLD_SECRET, QUICK, SECRET, VIEWER, delivery, endpoint, event_ids, events_become, failing, gateway, hits,
    id, ids, issue, local, ops, post, read, receiver, taken, text, yaml,
};

/// Has the public library verify what arrived, with each of these secrets; the lines that it prints.
fn verified(requests: &[Recorded], secrets: &str) -> Vec<String> {
    let delivery = |request: &Recorded| {
        let named = ["webhook-id", "webhook-timestamp", "webhook-signature"].into_iter();
        let headers: Value = named.map(|name| (name.to_owned(), json!(request.header(name)))).collect();
        json!({"headers": headers, "body": String::from_utf8(request.body.clone()).unwrap()})
    };
    let deliveries: Value = requests.iter().map(delivery).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/webhooks.py");
    let ran = sdk::python(&script, &[("DELIVERIES", &deliveries.to_string()), ("SECRETS", secrets)]);
    assert!(ran.ok(), "{ran}");
    ran.stdout.lines().map(str::to_owned).collect()
}

on_both_stores! {
    /// Proves: TALON-47
    async fn what_happens_to_a_key_is_told_and_the_public_library_verifies_it(store) {
        let receiver = receiver();
        let more = format!(", previous_secrets: [{OLD_SECRET}], events: [key.*]");
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, &more)], QUICK)).start().await;
        let key = issue(&gateway, "acme", "first").await;
        let one = async |method: &str, verb: &str, body: Value, status: u16| {
            let call = ops(&gateway, method, &format!("{ISSUED}/{key}{verb}")).header("x-tenant-id", "acme");
            assert_eq!(call.json(&body).send().await.status, status, "{method} {verb}");
        };
        one("PATCH", "", json!({"name": "second"}), 200).await;
        one("POST", ":rotate", json!({}), 201).await;
        one("DELETE", "", json!({}), 204).await;
        let requests = hits(&receiver, 4).await;
        let mut told: Vec<String> = requests.iter().map(|request| text(&request.json()["type"])).collect();
        told.sort_unstable();
        assert_eq!(told, ["key.created", "key.deleted", "key.rotated", "key.updated"]);
        for request in &requests {
            let body = request.json();
            assert_eq!((&body["data"]["tenantId"], &body["data"]["keyId"]), (&json!("acme"), &json!(key)), "{body}");
            assert_eq!((&body["data"]["actor"], &body["data"]["kind"]), (&json!("ops"), &json!("issued")));
            assert_eq!((request.method.as_str(), request.path()), ("POST", "/webhooks/ops"));
            assert_eq!(request.header("content-type"), Some("application/json"));
        }
        let mut printed: Vec<String> = verified(&requests, &format!("{SECRET} {OLD_SECRET}"));
        printed.sort_unstable();
        let mut wanted: Vec<String> =
            requests.iter().map(|request| format!("{} {}", id(request), text(&request.json()["type"]))).collect();
        wanted.sort_unstable();
        assert_eq!(printed, wanted);
    }

    /// Proves: TALON-47
    async fn an_endpoint_that_fails_twice_gets_the_same_event_three_times_and_no_more(store) {
        let receiver = receiver();
        receiver.then(failing()).then(failing());
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, "")], QUICK)).start().await;
        issue(&gateway, "acme", "first").await;
        let event = events_become(&gateway, "&state=delivered", 1).await.remove(0);
        let told = delivery(&gateway, &event, "delivered").await;
        assert_eq!((&told["attempts"], &told["lastStatus"], &told["lastError"]), (&json!(3), &json!(200), &Value::Null));
        let requests = receiver.requests();
        assert_eq!((requests.len(), ids(&requests).into_iter().collect::<Vec<_>>()), (3, vec![event]));
        assert!(requests.iter().all(|request| request.body == requests[0].body));
        assert_eq!(verified(&requests, SECRET).len(), 3, "each attempt is signed for its own time");
        let counted = async |outcome: &str| {
            metric(&gateway, &format!("bulkhead_webhook_deliveries_total{{outcome=\"{outcome}\"}}")).await
        };
        assert_eq!((counted("failed").await, counted("delivered").await), (2, 1));
    }

    async fn what_nobody_took_is_a_dead_letter_until_it_is_delivered_again(store) {
        let receiver = receiver();
        receiver.on(|_| Some(failing()));
        let settings = format!("{QUICK}  attempts_max: 2\n");
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, "")], &settings)).start().await;
        issue(&gateway, "acme", "first").await;
        issue(&gateway, "globex", "second").await;
        let dead = events_become(&gateway, "&state=dead", 2).await;
        let letters = read(&gateway, "/dead-letters?tenant=acme").await["data"].clone();
        assert_eq!(letters.as_array().unwrap().len(), 1, "{letters}");
        let letter = &letters[0];
        assert_eq!(
            ["type", "tenantId", "endpoint", "state", "lastError"].map(|name| text(&letter[name])),
            ["key.created", "acme", "ops", "dead", "answered 500"]
        );
        assert_eq!((&letter["attempts"], &letter["nextAttemptAt"]), (&json!(2), &Value::Null));
        let page = read(&gateway, "/dead-letters?limit=1").await;
        let rest = read(&gateway, &format!("/dead-letters?limit=1&cursor={}", text(&page["metadata"]["nextCursor"]))).await;
        let both = [&page, &rest].map(|page| text(&page["data"][0]["eventId"]));
        assert_eq!(both.as_slice(), dead.as_slice(), "newest first");
        assert_eq!(rest["metadata"]["nextCursor"], Value::Null);

        receiver.forget();
        receiver.on(|_| Some(taken()));
        let listed = gateway.cli(&["webhooks", "list", "--dead-letters", "--endpoint", gateway.url(), "--json"]);
        assert!(!listed.ok(), "no key was given: {listed}");
        let cli = |args: &[&str]| {
            let ran = gateway.cli(&[&["webhooks"], args, &["--endpoint", gateway.url(), "--admin-key-file", "key", "--json"]].concat());
            assert!(ran.ok(), "{args:?}: {ran}");
            serde_json::from_str::<Value>(&ran.stdout).unwrap()
        };
        std::fs::write(gateway.config_path().with_file_name("key"), crate::webhooks_setup::ADMIN).unwrap();
        assert_eq!(cli(&["list", "--dead-letters"]).as_array().unwrap().len(), 2);
        let again = post(&gateway, &format!("/events/{}/redeliver", dead[0]), &json!({"endpoint": "ops"})).await;
        assert_eq!((again.status, &again.json()["data"]["id"]), (202, &json!(dead[0])), "{}", again.text());
        cli(&["redeliver", &dead[1]]);
        let told = delivery(&gateway, &dead[0], "delivered").await;
        assert_eq!(told["attempts"], 1, "from the first attempt on");
        delivery(&gateway, &dead[1], "delivered").await;
        assert_eq!(ids(&receiver.requests()), dead.iter().cloned().collect(), "under the ids that they had");
        assert_eq!(cli(&["show", &dead[1]])["deliveries"][0]["state"], "delivered");
        let audited = "/v2alpha1/admin/auditEvents?filter=action%3D%22webhook.redelivered%22";
        let audited = ops(&gateway, "GET", audited).header("x-tenant-id", "acme").send().await.json();
        let event = &audited["audit_events"][0];
        assert_eq!((&event["object"], &event["actor"]), (&json!(dead[1]), &json!("ops")), "{audited}");
        assert_eq!(cli(&["list", "--dead-letters"]), json!([]));
        assert_eq!(cli(&["endpoints"])[0]["status"], "ok");
        assert_eq!(cli(&["test", "ops"])["delivered"], true);
        receiver.on(|_| Some(failing()));
        let tried = gateway.cli(&["webhooks", "test", "ops", "--endpoint", gateway.url(), "--admin-key-file", "key"]);
        assert!(!tried.ok() && tried.stderr.contains("not delivered: answered 500"), "{tried}");
    }

    async fn a_slow_endpoint_holds_up_nobody_else(store) {
        let (slow, quick) = (receiver(), receiver());
        slow.on(|_| Some(Script::hang()));
        let endpoints = [local("slow", &slow, ""), local("quick", &quick, "")];
        let settings = "  first_retry: 5ms\n  timeout_ms: 60000\n  concurrency: 2\n";
        let gateway = gateway(store, &yaml(&endpoints, settings)).start().await;
        for n in 0..12 {
            issue(&gateway, "acme", &format!("key {n}")).await;
        }
        assert_eq!(ids(&hits(&quick, 12).await).len(), 12);
        assert_eq!(slow.hits(), 2, "as many at a time as it may have");
        assert!(slow.requests().iter().all(|request| request.answered_at.is_none() && request.hung_up_at.is_none()));
    }

    async fn an_endpoint_that_is_gone_is_left_alone_until_the_configuration_is_loaded_anew(store) {
        let receiver = receiver();
        receiver.on(|_| Some(Script::json(410, &json!({}))));
        let config = yaml(&[local("ops", &receiver, "")], QUICK);
        let mut gateway = gateway(store, &config).env("BULKHEAD_ADMIN_KEY", crate::money::ADMIN).start().await;
        issue(&gateway, "acme", "first").await;
        let first = events_become(&gateway, "&state=dead", 1).await;
        issue(&gateway, "acme", "second").await;
        let second = events_become(&gateway, "&state=pending", 1).await;
        let endpoint = read(&gateway, "/endpoints").await["data"][0].clone();
        assert_eq!((&endpoint["status"], &endpoint["deadLetters"]), (&json!("gone"), &json!(1)), "{endpoint}");
        receiver.on(|_| Some(taken()));
        reload(&mut gateway, &config).await;
        delivery(&gateway, &second[0], "delivered").await;
        assert_eq!(receiver.hits(), 2, "the one that was given up, and the one that waited");
        assert_ne!(first, second);
    }

    async fn a_receiver_is_left_alone_for_as_long_as_it_asks_and_redirects_are_not_followed(store) {
        let (receiver, elsewhere) = (receiver(), receiver());
        receiver.then(failing().retry_after(2));
        receiver.then(Script::json(307, &json!({})).header("location", &format!("{}/elsewhere", elsewhere.url())));
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, "")], QUICK)).start().await;
        issue(&gateway, "acme", "first").await;
        let requests = hits(&receiver, 3).await;
        let gap = requests[1].arrived_at - requests[0].answered_at.unwrap();
        assert!(gap >= Duration::from_millis(1_900), "{gap:?}");
        assert_eq!((ids(&requests).len(), elsewhere.hits()), (1, 0));
    }

    /// Proves: CONN-66
    async fn no_delivery_goes_inside_unless_its_endpoint_may(store) {
        let inside = receiver();
        let port = inside.url().rsplit(':').next().unwrap().to_owned();
        let hosts =
            ["169.254.169.254", "[::1]", "127.0.0.1", "10.1.2.3", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0"];
        let endpoints: Vec<String> = hosts.iter().enumerate()
            .map(|(n, host)| endpoint(&format!("e{n}"), &format!("http://{host}:{port}/"), "")).collect();
        let gateway = gateway(store, &yaml(&endpoints, QUICK)).start().await;
        issue(&gateway, "acme", "first").await;
        let event = events_become(&gateway, "", 1).await.remove(0);
        let deadline = Instant::now() + crate::webhooks_setup::PATIENCE;
        let deliveries = loop {
            let deliveries = read(&gateway, &format!("/events/{event}")).await["data"]["deliveries"].clone();
            if deliveries.as_array().unwrap().iter().all(|delivery| delivery["state"] == "dead") {
                break deliveries;
            }
            assert!(Instant::now() < deadline, "{deliveries}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        for (delivery, host) in deliveries.as_array().unwrap().iter().zip(hosts) {
            let error = text(&delivery["lastError"]);
            assert!(error.contains("allow_private_network"), "{host}: {delivery}");
            assert_eq!(delivery["attempts"], 1, "{host}");
        }
        for (n, host) in hosts.iter().enumerate() {
            let tried = post(&gateway, &format!("/endpoints/e{n}/test"), &json!({})).await.json();
            assert_eq!(tried["data"]["delivered"], false, "{host}: {tried}");
            assert!(text(&tried["data"]["error"]).contains("allow_private_network"), "{host}: {tried}");
        }
        assert_eq!(inside.hits(), 0);
    }

    async fn an_endpoint_is_told_what_it_wants_of_whom_it_wants_from_a_reload_on(store) {
        let receiver = receiver();
        let told = |id: &str, more: &str| local(id, &receiver, more);
        let mut gateway = gateway(store, &yaml(&[told("all", ", events: [budget.*]")], QUICK))
            .env("BULKHEAD_ADMIN_KEY", crate::money::ADMIN).start().await;
        issue(&gateway, "acme", "untold").await;
        let endpoints =
            [told("acme", ", tenants: [acme], events: [key.created]"), told("both", ", events: ['*']")];
        reload(&mut gateway, &yaml(&endpoints, QUICK)).await;
        assert_eq!(event_ids(&gateway, "").await, Vec::<String>::new(), "nobody wanted it, so nothing was written");
        issue(&gateway, "acme", "one").await;
        issue(&gateway, "globex", "two").await;
        let requests = hits(&receiver, 3).await;
        let mut seen: Vec<(String, String)> = requests.iter()
            .map(|request| (request.path().to_owned(), text(&request.json()["data"]["tenantId"]))).collect();
        seen.sort_unstable();
        let wanted = [("/webhooks/acme", "acme"), ("/webhooks/both", "acme"), ("/webhooks/both", "globex")];
        assert_eq!(seen, wanted.map(|(path, tenant)| (path.to_owned(), tenant.to_owned())));
        assert_eq!(ids(&requests).len(), 2, "one id at both endpoints");
        assert_eq!(event_ids(&gateway, "&tenant=globex&kind=key.created").await.len(), 1);
    }

    async fn a_test_is_sent_at_once_and_says_what_came_of_it(store) {
        let receiver = receiver();
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, "")], QUICK)).start().await;
        let tried = post(&gateway, "/endpoints/ops/test", &json!({})).await;
        let body = tried.json();
        assert_eq!((tried.status, &body["data"]["delivered"], &body["data"]["status"]), (200, &json!(true), &json!(200)));
        assert_eq!(receiver.last().json()["type"], "webhook.test");
        assert_eq!(verified(&receiver.requests(), SECRET), [format!("{} webhook.test", text(&body["data"]["eventId"]))]);
        receiver.then(Script::json(200, &json!({})).ending(Ending::Die)).then(failing());
        assert_eq!(post(&gateway, "/endpoints/ops/test", &json!({})).await.json()["data"]["delivered"], true, "the status said so");
        assert_eq!(post(&gateway, "/endpoints/ops/test", &json!({})).await.json()["data"]["error"], "answered 500");
        assert_eq!(event_ids(&gateway, "").await, Vec::<String>::new(), "a test is no event");
    }

    async fn what_cannot_be_is_refused_with_what_to_do(store) {
        let receiver = receiver();
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, "")], QUICK)).start().await;
        let refused = async |method: &str, path: &str, body: Value, status: u16, says: &str| {
            let path = format!("/api/v1/admin/webhooks{path}");
            let answer = ops(&gateway, method, &path).json(&body).send().await;
            let told = answer.json();
            assert_eq!(answer.status, status, "{path}: {told}");
            assert!(text(&told["error"]["message"]).contains(says), "{path}: {told}");
        };
        refused("GET", "/events?kind=key.gone", json!({}), 400, "billing.period_closed").await;
        refused("GET", "/events?state=lost", json!({}), 400, "pending, delivered or dead").await;
        refused("GET", "/events?cursor=AAAA", json!({}), 400, "`cursor`").await;
        refused("GET", "/events?limit=0", json!({}), 400, "`limit`").await;
        refused("GET", "/dead-letters?tenant=nobody", json!({}), 404, "No such tenant").await;
        refused("GET", "/events/evt_none", json!({}), 404, "no webhook event").await;
        refused("POST", "/events/evt_none/redeliver", json!({}), 404, "no webhook event").await;
        refused("POST", "/endpoints/nobody/test", json!({}), 404, "webhooks.endpoints").await;
        issue(&gateway, "acme", "first").await;
        let event = events_become(&gateway, "", 1).await.remove(0);
        refused("POST", &format!("/events/{event}/redeliver"), json!({"endpoint": "nobody"}), 404, "webhooks.endpoints").await;
        refused("POST", &format!("/events/{event}/redeliver"), json!({"to": "ops"}), 400, "unknown field").await;
        let path = format!("/api/v1/admin/webhooks/events/{event}/redeliver");
        let viewer = Call::post(gateway.at(&path), &json!({})).bearer(VIEWER).send().await;
        assert_eq!((viewer.status, &viewer.json()["error"]["code"]), (403, &json!("FORBIDDEN")));
    }
}

#[tokio::test]
async fn the_secret_of_an_endpoint_is_told_nowhere() {
    let receiver: FakeProvider = receiver();
    receiver.then(failing());
    let more = format!(", previous_secrets: [{OLD_SECRET}]");
    let config = format!("log: {{level: trace}}\n{}", yaml(&[local("ops", &receiver, &more)], QUICK));
    let config = config.replace("/webhooks/ops'", "/webhooks/ops?token=hush-hush'");
    let mut gateway = gateway(Store::Sqlite, &config).start().await;
    issue(&gateway, "acme", "first").await;
    let event = events_become(&gateway, "&state=delivered", 1).await.remove(0);
    let mut seen = String::new();
    for path in ["/endpoints".to_owned(), "/events".to_owned(), format!("/events/{event}")] {
        seen.push_str(&read(&gateway, &path).await.to_string());
    }
    seen.push_str(&post(&gateway, "/endpoints/ops/test", &json!({})).await.text());
    let shown = gateway.cli(&["config", "show"]);
    assert!(shown.ok() && shown.stdout.contains("webhooks"), "{shown}");
    let masked = shown.to_string().replace("?token=hush-hush", "");
    seen.push_str(&masked);
    assert!(gateway.terminate().await, "{}", gateway.output());
    seen.push_str(&gateway.output());
    for secret in [SECRET, OLD_SECRET, &SECRET[6..], "hush-hush"] {
        let place = seen.find(secret).map(|at| &seen[at.saturating_sub(200)..at]);
        assert_eq!(place, None, "{secret}");
        for (path, bytes) in gateway.files() {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
        assert!(secret == "hush-hush" || receiver.requests().iter().all(|request| !request.mentions(secret)));
    }
}
