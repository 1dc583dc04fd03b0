//! Tools where something stands in the way: quotas, servers that do not do their part, addresses that nobody may ask, bad input.

use std::time::Instant;

use bh_testkit::{Call, FakeProvider, Recorded, Script, Store, on_both_stores};
use serde_json::{Value, json};

use crate::auth::ADMIN_KEY;
use crate::money::tamper;
use crate::tools_setup::{ADD, HERE, House, INVOKE, PATIENCE, POLL_EVERY, good, refused, server, text};

/// What a server answers that speaks MCP, but for its tools.
fn speaking(request: &Recorded, tools: &Value, called: impl FnOnce(&Value) -> Script) -> Script {
    let asked = request.json();
    let result =
        |result: Value| Script::json(200, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}));
    match asked["method"].as_str() {
        Some("initialize") => result(
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}),
        ),
        Some("notifications/initialized") => Script::bytes(202, "application/json", Vec::new()),
        Some("tools/list") => result(tools.clone()),
        _ => called(&asked),
    }
}

/// How many invocations of the month are counted.
fn used(house: &House) -> String {
    tamper(&house.gateway, "SELECT used FROM quota_counts WHERE quota = 'maxToolInvocations'")
}

on_both_stores! {
    /// Proves: CONN-28
    async fn a_tenant_has_as_many_servers_as_it_may_have_and_a_removal_makes_room(store) {
        let house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({"maxCustomServers": 2})).await;
        let fake = FakeProvider::start();
        fake.on(|request| Some(speaking(request, &json!({"tools": []}), |_| Script::close())));
        // Eight at a time: two of them, and never three.
        let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
        let adding = names.iter().map(|name| house.add(&acme, name, fake.url()));
        let answers = futures_util::future::join_all(adding).await;
        let taken: Vec<&String> = names.iter().zip(&answers).filter(|(_, answer)| answer.status == 202).map(|(name, _)| name).collect();
        assert_eq!(taken.len(), 2, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        let full = house.add(&acme, "one-more", fake.url()).await;
        let message = refused(&full, 429, "QUOTA_EXCEEDED");
        let context = &full.json()["error"]["context"];
        assert_eq!((&context["used"], &context["limit"]), (&json!("2"), &json!("2")), "{message}");
        assert_eq!(house.remove(&acme, taken[0]).await.status, 200);
        house.added(&acme, "one-more", fake.url()).await;
    }

    /// Proves: CONN-29
    async fn a_month_has_as_many_invocations_as_it_may_have_whoever_asks_at_once(store) {
        let house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({"maxToolInvocations": 5})).await;
        let server = server(&[]);
        house.added(&acme, "tools", &server.url()).await;
        let nothing = json!({"a": 1, "b": 1});
        let asking = (0..12).map(|_| house.invoke(&acme, "tools.add", &nothing));
        let answers = futures_util::future::join_all(asking).await;
        let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(429)), (5, 7));
        let over = house.invoke(&acme, "tools.add", &nothing).await;
        refused(&over, 429, "QUOTA_EXCEEDED");
        assert_eq!(over.json()["error"]["context"]["used"], json!("5"));
        assert_eq!(house.trail(&acme, 5).await.len(), 5, "what was not let is no call");
        let deadline = Instant::now() + PATIENCE;
        while house.invocations(&acme).await != json!(5) {
            assert!(Instant::now() < deadline, "the ledger has counted {}", house.invocations(&acme).await);
            tokio::time::sleep(POLL_EVERY).await;
        }
        // What was counted is the month's: when the month has turned, it begins anew.
        tamper(&house.gateway, "UPDATE quota_counts SET period = '2025-01' WHERE quota = 'maxToolInvocations'");
        assert_eq!(text(&house.invoke(&acme, "tools.add", &nothing).await), "2");
        assert_eq!(tamper(&house.gateway, "SELECT COUNT(*) FROM quota_counts WHERE quota = 'maxToolInvocations'"), "1", "old months are forgotten");
    }

    async fn a_server_that_does_not_do_its_part_is_told_of_and_costs_no_invocation(store) {
        let yaml = "mcp: {allow_private_network: true, timeout_ms: 6000}\n";
        let house = House::start(store, yaml).await;
        let acme = house.tenant("acme-corp", json!({"maxToolInvocations": 9})).await;
        let fake = FakeProvider::start();
        let tools = json!({"tools": [{"name": "run", "inputSchema": {"type": "object"}}, {"name": "files/read"}, {"name": "no name of a tool"}]});
        fake.on(move |request| Some(speaking(request, &tools, |_| Script::close())));
        let made = house.added(&acme, "odd", fake.url()).await;
        assert_eq!(made["toolsDiscovered"], json!(2), "a name that no id can have is left out");
        let slashed = house.read(&acme, "/api/v1/tools/odd.files%2Fread/schema").await;
        assert_eq!(slashed["id"], json!("odd.files/read"));
        let rpc = |code: i64, message: &str| json!({"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message}});
        type Answering = (fn(&Value, Value) -> Script, Value, u16, &'static str, bool);
        let with_id = |asked: &Value, mut body: Value| { body["id"] = asked["id"].clone(); Script::json(200, &body) };
        // How the server answers, what is told of it, and whether the tool may have run.
        let odd: [Answering; 9] = [
            (with_id, rpc(-32602, "Unknown tool"), 400, "VALIDATION_ERROR", true),
            (with_id, rpc(-32603, "it broke"), 502, "TOOL_FAILED", true),
            (with_id, rpc(-32601, "Method not found"), 502, "TOOL_FAILED", false),
            (with_id, json!({"result": 7}), 502, "TOOL_FAILED", true),
            (|_, _| Script::json(200, &json!({"not": "rpc"})), json!({}), 502, "TOOL_FAILED", true),
            (|_, _| Script::json(500, &json!({})), json!({}), 502, "TOOL_FAILED", true),
            (|_, _| Script::json(429, &json!({})).retry_after(7), json!({}), 503, "TOOL_BUSY", false),
            (|_, _| Script::huge(5 * 1024 * 1024), json!({}), 502, "TOOL_FAILED", true),
            (|_, _| Script::close(), json!({}), 502, "UPSTREAM_UNREACHABLE", true),
        ];
        let mut counted = 0;
        for (number, (answering, body, status, code, may_have_run)) in odd.into_iter().enumerate() {
            let words = body["error"]["message"].clone();
            fake.on(move |request| Some(speaking(request, &json!({"tools": []}), |asked| answering(asked, body.clone()))));
            let answer = house.invoke(&acme, "odd.run", &json!({})).await;
            let message = refused(&answer, status, code);
            assert!(message.starts_with("The tool's server: "), "{number}: {message}");
            assert_eq!(answer.json()["error"]["context"]["serverMessage"], words, "{number}");
            if status == 503 {
                assert_eq!(answer.header("retry-after"), Some("7"));
            }
            counted += u64::from(may_have_run);
            assert_eq!(used(&house), counted.to_string(), "{number}: {message}");
        }
        fake.on(|request| Some(speaking(request, &json!({"tools": []}), |_| Script::hang())));
        refused(&house.invoke(&acme, "odd.run", &json!({})).await, 504, "UPSTREAM_TIMEOUT");
        let events = house.trail(&acme, 10).await;
        assert!(events.iter().all(|event| event["result"] == json!("failed")), "{events:?}");
        assert_eq!((house.invocations(&acme).await, used(&house)), (json!(counted + 1), (counted + 1).to_string()));
        let told = house.read(&acme, "/api/v1/audit?limit=1000").await.to_string();
        assert!(!told.contains("it broke"), "a server's words are nobody's record: {told}");

        // A dead address is a deployment that failed; added again it takes its own place.
        let dead = good(&house.add(&acme, "dead", "http://127.0.0.1:9/mcp").await, 202);
        assert_eq!((&dead["status"], dead["toolsDiscovered"].is_null()), (&json!("failed"), true), "{dead}");
        fake.on(|request| Some(speaking(request, &json!({"tools": []}), |_| Script::close())));
        house.added(&acme, "dead", fake.url()).await;
    }

    /// What a server says when it refuses may be what it was shown.
    async fn a_credential_that_a_server_repeats_is_told_to_nobody(store) {
        let mut house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({})).await;
        let fake = FakeProvider::start();
        fake.on(|request| {
            let shown = request.header("authorization").unwrap_or_default().to_owned();
            Some(speaking(request, &json!({"tools": [{"name": "run"}]}), |asked| {
                let error = json!({"code": -32001, "message": format!("no such token: {shown}")});
                Script::json(200, &json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}))
            }))
        });
        house.added(&acme, "odd", fake.url()).await;
        house.credential("acme-corp", "odd", "token-s3cret-of-acme").await;
        let answer = house.invoke(&acme, "odd.run", &json!({})).await;
        refused(&answer, 502, "TOOL_FAILED");
        assert_eq!(answer.json()["error"]["context"]["serverMessage"], json!("no such token: Bearer [redacted]"));
        let told = house.trail(&acme, 1).await;
        assert!(house.gateway.terminate().await);
        let kept = |(_, content): &(_, Vec<u8>)| String::from_utf8_lossy(content).contains("s3cret-of-acme");
        assert!(!house.gateway.files().iter().any(kept));
        for text in [answer.text(), house.gateway.output(), json!(told).to_string()] {
            assert!(!text.contains("s3cret-of-acme"), "{text}");
        }
    }

    async fn a_tenant_that_has_to_do_without_servers_has_no_tools_either(store) {
        let house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({})).await;
        let server = server(&[]);
        house.added(&acme, "tools", &server.url()).await;
        let switch = async |on: bool| {
            let path = house.gateway.at("/api/v1/admin/tenants/acme-corp");
            let body = json!({"features": {"customServers": on}});
            assert_eq!(Call::new("PATCH", path).bearer(ADMIN_KEY).json(&body).send().await.status, 200);
        };
        let sum = json!({"a": 1, "b": 1});
        switch(false).await;
        assert_eq!(house.read(&acme, "/api/v1/tools/list").await["total"], json!(0));
        refused(&house.invoke(&acme, "tools.add", &sum).await, 403, "FEATURE_DISABLED");
        switch(true).await;
        assert_eq!(text(&house.invoke(&acme, "tools.add", &sum).await), "2");
        // And one that is deleted leaves none.
        let path = house.gateway.at("/api/v1/admin/tenants/acme-corp?confirm=true");
        assert_eq!(Call::new("DELETE", path).bearer(ADMIN_KEY).send().await.status, 200);
        for table in ["mcp_servers", "mcp_tools", "quota_counts"] {
            assert_eq!(tamper(&house.gateway, &format!("SELECT COUNT(*) FROM {table}")), "0", "{table}");
        }
    }

    async fn a_session_that_a_server_has_forgotten_is_begun_again(store) {
        let house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({})).await;
        let mut server = server(&[]);
        house.added(&acme, "tools", &server.url()).await;
        let sum = json!({"a": 20, "b": 22});
        assert_eq!(text(&house.invoke(&acme, "tools.add", &sum).await), "42");
        server.crash();
        refused(&house.invoke(&acme, "tools.add", &sum).await, 502, "UPSTREAM_UNREACHABLE");
        server.start_again();
        assert_eq!(text(&house.invoke(&acme, "tools.add", &sum).await), "42");
    }

    async fn a_client_that_hangs_up_leaves_its_call_on_record(store) {
        let house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({})).await;
        let fake = FakeProvider::start();
        fake.on(|request| Some(speaking(request, &json!({"tools": [{"name": "run"}]}), |_| Script::hang())));
        house.added(&acme, "slow", fake.url()).await;
        let before = fake.hits();
        let body = json!({"toolId": "slow.run", "parameters": {}});
        let call = house.call(&acme, "POST", INVOKE).json(&body);
        let waiting = tokio::spawn(async move { call.try_send().await.map(|answer| answer.status) });
        assert!(fake.hits_reach(before + 1, PATIENCE).await, "the call reaches the tool");
        waiting.abort();
        let events = house.trail(&acme, 1).await;
        assert_eq!(events[0]["params"]["reason"], json!("client_disconnected"), "{}", events[0]);
        assert_eq!(house.invocations(&acme).await, json!(1), "it may have run");
    }
}

/// A tenant chooses where its servers are, and never reaches what is inside.
#[tokio::test]
async fn no_server_is_asked_where_tenants_have_no_business() {
    let house = House::start(Store::Sqlite, "").await;
    let acme = house.tenant("acme-corp", json!({})).await;
    let inside = FakeProvider::start();
    let port = inside.url().rsplit(':').next().unwrap().to_owned();
    for url in [
        inside.url().to_owned(),
        format!("http://localhost:{port}/mcp"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://10.0.0.1/".to_owned(),
    ] {
        let told = good(&house.add(&acme, "inside", &url).await, 202);
        assert_eq!(told["status"], json!("failed"), "{url}");
        assert!(told["error"].as_str().unwrap().contains("allow_private_network"), "{told}");
    }
    assert_eq!(inside.hits(), 0);
    for (url, why) in [
        ("https://user:pass@tools.example.com/mcp", "no user"),
        ("https://tools.example.com/mcp?key=s3cret-in-a-url", "no user, query"),
        ("ftp://tools.example.com/", "http or https"),
        ("/mcp", "http or https"),
        ("", "no address"),
    ] {
        let answer = house.add(&acme, "odd", url).await;
        let message = refused(&answer, 400, "VALIDATION_ERROR");
        assert!(
            message.contains(why) && !message.contains("s3cret") && !message.contains("pass@"),
            "{url}: {message}"
        );
    }
}

/// A request that cannot be served: where, what, and what its refusal says.
type Wrong = (&'static str, Value, u16, &'static str, &'static str);

fn wrong_servers() -> Vec<Wrong> {
    let http = json!({"type": "http", "url": "http://127.0.0.1:9/"});
    vec![
        (ADD, json!({"name": "Acme", "source": http}), 400, "VALIDATION_ERROR", "`name`"),
        (ADD, json!({"name": "a.b", "source": http}), 400, "VALIDATION_ERROR", "`name`"),
        (ADD, json!({"source": http}), 400, "VALIDATION_ERROR", "missing field `name`"),
        (ADD, json!({"name": "a"}), 400, "VALIDATION_ERROR", "missing field `source`"),
        (
            ADD,
            json!({"name": "a", "source": http, "category": "Not Plain"}),
            400,
            "VALIDATION_ERROR",
            "`category`",
        ),
        (
            ADD,
            json!({"name": "a", "source": {"type": "carrier-pigeon"}}),
            400,
            "VALIDATION_ERROR",
            "`source.type`",
        ),
        (
            ADD,
            json!({"name": "a", "source": {"type": "http"}}),
            400,
            "VALIDATION_ERROR",
            "`source.url` is missing",
        ),
        (
            ADD,
            json!({"name": "a", "source": {"type": "http", "url": "http://x/", "headers": {"a": "b"}}}),
            400,
            "VALIDATION_ERROR",
            "storeCredentials",
        ),
        (ADD, json!({"name": "a", "source": http, "env": {"A": "b"}}), 400, "VALIDATION_ERROR", "`env`"),
        (
            ADD,
            json!({"name": "a", "source": {"type": "github", "url": "https://github.com/acme/mcp-server"}}),
            501,
            "NOT_IMPLEMENTED",
            "`github`",
        ),
    ]
}

fn wrong_calls() -> Vec<Wrong> {
    let long = "q".repeat(1_001);
    vec![
        (INVOKE, json!({"toolId": "no dots"}), 400, "VALIDATION_ERROR", "`toolId`"),
        (INVOKE, json!({"toolId": "a.b", "integration": "c"}), 400, "VALIDATION_ERROR", "`integration`"),
        (INVOKE, json!({"toolId": "a.b", "parameters": [1]}), 400, "VALIDATION_ERROR", "`parameters`"),
        (INVOKE, json!({"toolId": "a.b", "sidecar": 1}), 400, "VALIDATION_ERROR", "unknown field `sidecar`"),
        (INVOKE, json!({"toolId": "a.b"}), 404, "TOOL_NOT_FOUND", "tools/list"),
        ("/api/v1/tools/select", json!({}), 400, "VALIDATION_ERROR", "`query`"),
        ("/api/v1/tools/select", json!({"query": long}), 400, "VALIDATION_ERROR", "`query`"),
        ("/api/v1/tools/select", json!({"query": "x", "maxTools": 0}), 400, "VALIDATION_ERROR", "`maxTools`"),
        (
            "/api/v1/tools/select",
            json!({"query": "x", "tokenBudget": 99}),
            400,
            "VALIDATION_ERROR",
            "`tokenBudget`",
        ),
        (
            "/api/v1/tools/select",
            json!({"query": "x", "category": "A B"}),
            400,
            "VALIDATION_ERROR",
            "`category`",
        ),
        (
            "/api/v1/tools/select",
            json!({"queries": [{"use_case": "x"}]}),
            501,
            "NOT_IMPLEMENTED",
            "`queries`",
        ),
    ]
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_where_and_why() {
    let house = House::start(Store::Sqlite, HERE).await;
    let acme = house.tenant("acme-corp", json!({})).await;
    for (path, body, status, code, told) in wrong_servers().into_iter().chain(wrong_calls()) {
        let answer = house.call(&acme, "POST", path).json(&body).send().await;
        let message = refused(&answer, status, code);
        assert!(message.contains(told), "{body}: {message}");
    }
    let unread =
        house.call(&acme, "POST", INVOKE).body("{").header("content-type", "application/json").send().await;
    refused(&unread, 400, "VALIDATION_ERROR");
    let huge = json!({"toolId": "a.b", "parameters": {"x": "y".repeat(2 * 1024 * 1024)}});
    refused(&house.call(&acme, "POST", INVOKE).json(&huge).send().await, 413, "REQUEST_TOO_LARGE");
}
