//! The key server as a program: its configuration, its planes, its probes, and its command line (seed 003, Talos dossier
//! §8 to §10).

use bh_testkit::{Call, CliOutput, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD};

pub(crate) const SECRET: &str = "test-hmac-secret-32-characters-long-for-hmac-sha256";
pub(crate) const ISSUED: &str = "/v2alpha1/admin/issuedApiKeys";
pub(crate) const VERIFY: &str = "/v2alpha1/admin/apiKeys:verify";
const SELF_REVOKE: &str = "/v2alpha1/apiKeys:selfRevoke";
const KEY_SET: &str = "/v2alpha1/derivedKeys/jwks.json";

/// Every key of the dossier's tree (§8.2), each with a value of its own.
const WHOLE_TREE: &str = "\
serve:
  http:
    host: 127.0.0.1
    port: 4420
    cors: {enabled: false, allowed_origins: ['*'], allowed_methods: [GET], allowed_headers: [Authorization], exposed_headers: [Content-Type], allow_credentials: false, max_age: 0, debug: false}
    client_ip_source: CLIENT_IP_SOURCE_REMOTE_ADDR
    trust_forwarded_host: false
    request_log: {exclude_health_endpoints: true}
  metrics: {host: 127.0.0.1, port: 4422}
  grpc: {port: 4421}
  tls: {cert: {path: /nowhere}}
credentials:
  issuer: https://keys.example
  issuer_retired: [https://old.example, {value: https://older.example, expires_at: 2027-01-01T00:00:00Z}]
  clock_skew: 1m
  api_keys: {default_ttl: 24h, max_ttl: 8760h, prefix: {current: ab, retired: [a1], public_current: pk, public_retired: [p1]}}
  derived_tokens: {default_ttl: 30m, jwt: {signing_key_id: '', signing_keys: {urls: []}}, macaroon: {prefix: {current: mm, retired: [m1]}}}
secrets:
  hmac: {current: test-hmac-secret-32-characters-long-for-hmac-sha256, retired: [an-older-hmac-secret-of-enough-characters]}
  pagination: {current: test-page-secret-32-characters-long-for-pages}
db: {dsn: 'sqlite:///nowhere/talos.db?_fk=1'}
cache: {type: memory, enabled: true, ttl: 5m, memory: {max_size: 104857600, num_counters: 10000}}
rate_limit: {enabled: true, backend: memory}
last_used: {queue_size: 10000, flush_size: 100, flush_interval: 30s, num_workers: 4}
log: {level: info, format: json}
tracing: {enabled: false, service_name: talos, service_version: 0.0.0, environment: development, exporter: otlp, sample_rate: 0.001}
quota: {api_keys_max: 100}
multitenancy: {enabled: false, networks: []}
";

pub(crate) fn network_yaml() -> &'static str {
    "multitenancy:\n  enabled: true\n  networks:\n    - {hostname: a.example, id: 550e8400-e29b-41d4-a716-446655440001}\n"
}

async fn status(gateway: &Gateway, method: &str, path: &str) -> u16 {
    Call::new(method, gateway.at(path)).body("{}").send().await.status
}

fn printed(output: &CliOutput) -> Value {
    assert!(output.ok(), "{output}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output}"))
}

/// A key set with one private key, as the program makes it.
fn key_set() -> String {
    let made =
        Gateway::builder(BULKHEAD).run(&["jwk", "generate", "eddsa", "--kid", "k1", "--jwks", "--base64"]);
    assert!(made.ok(), "{made}");
    made.stdout.trim().to_owned()
}

/// Proves: TALOS-C14
#[test]
fn every_key_of_the_tree_loads_and_what_is_not_active_says_so() {
    let output = Gateway::builder(BULKHEAD).config(WHOLE_TREE).run(&["validate", "--json"]);
    let told = printed(&output);
    let inactive: Vec<&str> = told["accepted_not_active_yet"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["path"].as_str().unwrap())
        .collect();
    for asleep in
        ["serve.grpc", "serve.tls", "serve.http.cors", "last_used.queue_size", "tracing", "cache.memory"]
    {
        assert!(inactive.contains(&asleep), "{asleep} is not among {inactive:?}");
    }
    for awake in ["secrets", "credentials", "serve.http.host", "serve.metrics", "db", "quota", "multitenancy"]
    {
        assert!(!inactive.iter().any(|path| path.starts_with(awake)), "{awake} is among {inactive:?}");
    }
    assert!(!output.stdout.contains("test-hmac"), "a secret shows");
}

/// Proves: TALOS-C14
#[test]
fn what_a_request_would_trip_over_refuses_the_start_and_names_the_line() {
    let unfit = [
        (format!("secrets:\n  hmac:\n    current: {}\n", &SECRET[..31]), "3:", "at least 32 characters"),
        ("secrets:\n  hmac:\n    retired: [short]\n".to_owned(), "3:", "at least 32 characters"),
        (
            "credentials:\n  api_keys: {prefix: {current: 'a-b'}}\n".to_owned(),
            "2:",
            "letters, digits and underscores",
        ),
        ("credentials:\n  api_keys: {prefix: {current: mc}}\n".to_owned(), "2:", "is taken for a macaroon"),
        (
            "credentials:\n  derived_tokens:\n    jwt: {signing_keys: {urls: ['base64://e30=']}}\n"
                .to_owned(),
            "3:",
            "not a JSON key set",
        ),
        ("credentials:\n  isuer: x\n".to_owned(), "2:", "did you mean `issuer`?"),
        ("credentials:\n  clock_skew: 11m\n".to_owned(), "2:", "at most 10m"),
        ("serve:\n  http: {port: 70000}\n".to_owned(), "2:", "at most 65535"),
        ("db:\n  dsn: mysql://u:hidden-password@h/d\n".to_owned(), "2:", "expected sqlite://"),
    ];
    for (config, line, why) in unfit {
        // The harness puts two lines in front: its own listener.
        let line: u32 = line.trim_end_matches(':').parse::<u32>().unwrap() + 2;
        let output = Gateway::builder(BULKHEAD).config(&config).run(&["serve"]);
        assert_eq!(output.code, Some(1), "{config}{output}");
        assert!(output.stderr.contains(&format!("bulkhead.yaml:{line}:")), "{config}{output}");
        assert!(output.stderr.contains(why), "{config}{output}");
        assert!(!output.stderr.contains(&SECRET[..31]) && !output.stderr.contains("hidden"), "{output}");
    }
    let overlaid = network_yaml().replace("440001}", "440001, config_path: one.yaml}");
    let overlay = "credentials:\n  derived_tokens: {macaroon: {prefix: {current: ory_ak}}}\n";
    let refused = Gateway::builder(BULKHEAD).config(&overlaid).file("one.yaml", overlay).run(&["serve"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("one.yaml:2:"), "{refused}");
}

on_both_stores! {
    /// Proves: TALOS-C14
    async fn settings_of_the_environment_are_in_force(store) {
        let set = key_set();
        let retired = format!(r#"["{SECRET}", {{"value": "{SECRET}-2", "expires_at": "2099-01-01T00:00:00Z"}}]"#);
        let gateway = Gateway::builder(BULKHEAD)
            .store(store)
            .config("credentials: {issuer: https://file.example, api_keys: {prefix: {current: file}}}\n")
            .env("TALOS_CREDENTIALS_ISSUER", "https://env.example")
            .env("TALOS_CREDENTIALS_API_KEYS_PREFIX_CURRENT", "t3")
            .env("TALOS_CREDENTIALS_API_KEYS_PREFIX_RETIRED", "file,older")
            .env("TALOS_CREDENTIALS_DERIVED_TOKENS_JWT_SIGNING_KEYS_URLS_0", &set)
            .env("TALOS_SECRETS_HMAC_CURRENT", &format!("{SECRET}-3"))
            .env("TALOS_SECRETS_HMAC_RETIRED", &retired)
            .env("TALOS_QUOTA_API_KEYS_MAX", "1")
            .start()
            .await;
        let issue = Call::post(gateway.at(ISSUED), &json!({"name": "a"}));
        let answer = issue.send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let secret = answer.json()["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("t3_v1_"), "the file's prefix counts");
        let verified = Call::post(gateway.at(VERIFY), &json!({"credential": secret})).send().await.json();
        assert_eq!((&verified["is_valid"], &verified["issuer"]), (&json!(true), &json!("https://env.example")));
        assert_eq!(issue.send().await.status, 429, "the quota of the environment does not count");
        assert_eq!(Call::get(gateway.at(KEY_SET)).send().await.json()["keys"][0]["kid"], json!("k1"));
        let shown = gateway.cli(&["config", "show"]);
        assert!(shown.ok() && !shown.stdout.contains(SECRET), "a secret shows");
    }

    /// Proves: TALOS-C15
    async fn each_plane_serves_its_own_routes_and_no_other(store) {
        let planes: [(&[&str], bool, bool, bool); 3] = [
            (&["serve"], true, true, true),
            (&["serve", "admin"], true, false, false),
            (&["serve", "public"], false, true, false),
        ];
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        for (args, admin, public, others) in planes {
            gateway.try_restart_as(|same| same.args(args)).await.unwrap_or_else(|end| panic!("{args:?}: {end}"));
            let has = async |method: &str, path: &str| status(&gateway, method, path).await != 404;
            for (method, path) in [("GET", ISSUED), ("POST", ISSUED), ("POST", VERIFY), ("POST", "/v2alpha1/admin/apiKeys:derive")] {
                assert_eq!(has(method, path).await, admin, "{args:?}: {path}");
            }
            // An empty credential is refused as one, where there is somebody to refuse it.
            assert_eq!(has("POST", SELF_REVOKE).await, public, "{args:?}");
            assert_eq!(has("GET", "/v1/models").await, others, "{args:?}");
            for everywhere in [KEY_SET, "/.well-known/jwks.json", "/health/alive", "/health/ready", "/healthz"] {
                assert_eq!(status(&gateway, "GET", everywhere).await, 200, "{args:?}: {everywhere}");
            }
            let closed = Call::get(gateway.at("/v2alpha1/admin/derivedKeys/jwks.json")).send().await;
            let error = &closed.json()["error"];
            assert_eq!((closed.status, &error["status"]), (404, &json!("NOT_FOUND")), "{args:?}");
        }
    }

    /// Proves: TALOS-C16
    async fn the_metrics_of_the_key_server_have_the_names_that_talos_gives_them(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let post = async |path: &str, body: Value, status: u16| {
            let answer = Call::post(gateway.at(path), &body).send().await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            if answer.body.is_empty() { Value::Null } else { answer.json() }
        };
        let key = post(ISSUED, json!({}), 201).await;
        let credential = json!({"credential": key["secret"]});
        for _ in 0..3 {
            post(VERIFY, credential.clone(), 200).await;
        }
        post(VERIFY, json!({"credential": "junk"}), 200).await;
        post("/v2alpha1/admin/apiKeys:derive", credential, 200).await;
        let id = key["issued_api_key"]["key_id"].as_str().unwrap();
        let new = post(&format!("{ISSUED}/{id}:rotate"), json!({}), 201).await;
        let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        let new_id = new["issued_api_key"]["key_id"].as_str().unwrap();
        post(&format!("{ISSUED}/{new_id}:revoke"), end, 204).await;
        let good = json!({"raw_key": "sk_1", "name": "n", "actor_id": "a"});
        let batch = json!({"requests": [good, {}]});
        post("/v2alpha1/admin/importedApiKeys:batchCreate", batch, 200).await;

        let text = Call::get(gateway.at("/metrics")).send().await.text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        for (name, wanted) in [
            ("talos_keys_created_total", 2.0),
            ("talos_keys_rotated_total", 1.0),
            ("talos_tokens_minted_total", 1.0),
            ("talos_keys_revoked_total{reason=\"rotation\"}", 1.0),
            ("talos_keys_revoked_total{reason=\"REVOCATION_REASON_SUPERSEDED\"}", 1.0),
            ("talos_verifications_total{type=\"issued\",result=\"success\"}", 3.0),
            ("talos_verifications_total{type=\"imported\",result=\"failure\"}", 1.0),
            ("talos_verification_duration_seconds_count{type=\"imported\",cache_hit=\"miss\"}", 1.0),
            ("talos_cache_errors_total{operation=\"read\"}", 0.0),
            ("talos_cache_errors_total{operation=\"write\"}", 0.0),
            ("talos_batch_import_requests_total", 1.0),
            ("talos_batch_import_key_count_sum", 2.0),
            ("talos_batch_import_partial_failures_total", 1.0),
            ("talos_batch_import_keys_succeeded_total", 1.0),
            ("talos_batch_import_keys_failed_total{error_code=\"BATCH_CREATE_IMPORTED_API_KEYS_ERROR_INVALID_ARGUMENT\"}", 1.0),
            ("talos_keyservice_load_total{result=\"success\"}", 1.0),
            ("talos_keyservice_load_duration_seconds_count", 1.0),
            ("talos_keyservice_keys_loaded", 1.0),
        ] {
            assert!((value(name) - wanted).abs() < f64::EPSILON, "{name} is not {wanted} in {text}");
        }
        assert!((value("talos_cache_hits_total") + value("talos_cache_misses_total") - 4.0).abs() < f64::EPSILON);
        let (open, idle) = (value("talos_db_open_connections"), value("talos_db_idle_connections"));
        assert!(open >= 1.0 && (idle + value("talos_db_in_use_connections") - open).abs() < f64::EPSILON, "{text}");
        assert!(value("talos_db_max_open_connections") >= open);
    }

    /// Proves: TALOS-C16
    async fn probes_answer_on_the_main_and_on_the_metrics_listener(store) {
        let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (main, metrics) = (port(), port());
        let yaml = format!(
            "server:\n  listen:\nserve:\n  http: {{host: 127.0.0.1, port: {main}}}\n  metrics: {{host: 127.0.0.1, port: {metrics}}}\n{}",
            network_yaml()
        );
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
        assert_eq!(gateway.url(), format!("http://127.0.0.1:{main}"));
        let beside = format!("http://127.0.0.1:{metrics}");
        for base in [gateway.url(), &beside] {
            for probe in ["/health/alive", "/health/ready"] {
                let answer = Call::get(format!("{base}{probe}")).send().await;
                assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})), "{base}{probe}");
            }
        }
        let scraped = Call::get(format!("{beside}/metrics")).send().await;
        assert_eq!(scraped.status, 200);
        assert!(scraped.text().contains("# TYPE"), "{}", scraped.text());
        assert_eq!(Call::get(gateway.at("/metrics")).header("host", "a.example").send().await.status, 404);
        assert_eq!(Call::get(format!("{beside}{ISSUED}")).send().await.status, 404);
    }

    async fn every_answer_of_the_key_api_names_the_request_and_carries_security_headers(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).config(network_yaml()).start().await;
        for (path, host, wanted) in
            [(KEY_SET, "a.example", 200), (KEY_SET, "unknown.example", 404), ("/v2alpha1/none", "a.example", 404)]
        {
            let call = Call::get(gateway.at(path)).header("host", host);
            let answer = call.clone().header("x-request-id", "mine-1").send().await;
            assert_eq!((answer.status, answer.header("x-request-id")), (wanted, Some("mine-1")), "{path}");
            for (name, value) in [
                ("strict-transport-security", "max-age=31536000; includeSubDomains"),
                ("x-frame-options", "DENY"),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "strict-origin-when-cross-origin"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path}");
            }
            assert!(answer.header("content-security-policy").is_some(), "{path}");
            let of = async |id: &str| {
                let answer = call.clone().header("x-request-id", id).send().await;
                answer.header("x-request-id").unwrap().to_owned()
            };
            let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
            assert_eq!(of(&longest).await, longest);
            let fresh = [of(&too_long).await, call.send().await.header("x-request-id").unwrap().to_owned()];
            assert_ne!(fresh[0], fresh[1]);
            assert!(fresh.iter().all(|id| uuid_like(id)), "{fresh:?}");
        }
    }
}

fn uuid_like(text: &str) -> bool {
    text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// A server that wants an admin key, and the command line that has it.
pub(crate) async fn guarded(store: Store) -> Gateway {
    Gateway::builder(BULKHEAD).store(store).env("BULKHEAD_ADMIN_KEY", ADMIN_KEY).start().await
}

pub(crate) fn keys(gateway: &Gateway, args: &[&str]) -> CliOutput {
    gateway.cli(&[&["keys", "-e", gateway.url()], args].concat())
}

pub(crate) fn keys_json(gateway: &Gateway, args: &[&str]) -> Value {
    printed(&keys(gateway, &[args, &["--format", "json"]].concat()))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

on_both_stores! {
    /// Proves: TALOS-C20
    async fn a_key_lives_its_whole_life_on_the_command_line(store) {
        let gateway = guarded(store).await;
        let issue = ["issue", "ci", "--actor", "svc", "--scopes", "read,write", "--ttl", "30d", "--rate-limit", "100/60s", "--allowed-cidrs", "127.0.0.0/8"];
        let issued = keys_json(&gateway, &issue);
        let (key, secret) = (&issued["issued_api_key"], text(&issued["secret"]));
        let id = text(&key["key_id"]);
        assert_eq!((&key["scopes"], &key["rate_limit_policy"]["quota"]), (&json!(["read", "write"]), &json!("100")));
        assert_eq!(keys_json(&gateway, &["verify", secret])["key_id"], json!(id));
        assert_eq!(keys_json(&gateway, &["get", id])["name"], json!("ci"));
        let changed = keys_json(&gateway, &["issued", "update", id, "--name", "ci-2", "--scopes", "", "--allowed-cidrs", ""]);
        assert_eq!(changed["name"], json!("ci-2"));
        assert!(changed["scopes"].as_array().is_none_or(Vec::is_empty), "{changed}");
        let derived = keys_json(&gateway, &["derive", secret, "--algorithm", "macaroon", "--ttl", "10m"]);
        assert!(keys_json(&gateway, &["verify", text(&derived["token"]["token"])])["is_valid"].as_bool().unwrap());
        let rotated = keys_json(&gateway, &["rotate", id]);
        let (new_id, new_secret) = (text(&rotated["issued_api_key"]["key_id"]), text(&rotated["secret"]));
        let refused = keys(&gateway, &["verify", secret, "--json"]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stdout.contains("VERIFICATION_ERROR_REVOKED") && !refused.stderr.contains(secret), "{refused}");
        assert!(keys(&gateway, &["verify", new_secret]).ok());
        let list = keys_json(&gateway, &["list", "--filter", "status=KEY_STATUS_ACTIVE"]);
        assert_eq!(list["issued_api_keys"].as_array().unwrap().len(), 1, "{list}");
        assert!(keys(&gateway, &["issued", "revoke", new_id, "--reason", "key_compromise"]).ok());
        let again = keys(&gateway, &["revoke", new_id]);
        assert_eq!(again.code, Some(1));
        assert!(again.stderr.contains("(409 "), "{again}");
        assert!(keys(&gateway, &["delete", new_id]).ok());
        assert_eq!(keys(&gateway, &["get", new_id]).code, Some(1));
    }

    /// Proves: TALOS-C20
    async fn keys_from_elsewhere_are_imported_alone_and_by_the_file(store) {
        let gateway = guarded(store).await;
        let imported = keys_json(&gateway, &["imported", "import", "stripe", "--raw-key", "sk_live_1", "--actor", "svc"]);
        let id = text(&imported["key_id"]);
        assert_eq!(id.len(), 64);
        assert!(keys_json(&gateway, &["verify", "sk_live_1"])["is_valid"].as_bool().unwrap());
        let line = |n: u32| format!("{{\"raw_key\": \"sk_live_{n}\", \"name\": \"k{n}\", \"actor_id\": \"svc\"}}\n");
        let file = gateway.config_path().with_file_name("keys.jsonl");
        std::fs::write(&file, (1..=1_101).map(line).collect::<String>()).unwrap();
        let output = keys(&gateway, &["import-file", file.to_str().unwrap(), "--json"]);
        assert_eq!(output.code, Some(1), "one of them is there already: {output}");
        let told: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!((&told["success_count"], &told["failure_count"]), (&json!(1_100), &json!(1)));
        assert_eq!(told["failures"][0]["index"], json!(0));
        assert!(!output.stdout.contains("sk_live_"), "a key shows");
        assert!(keys_json(&gateway, &["verify", "sk_live_1101"])["is_valid"].as_bool().unwrap());
        let list = keys_json(&gateway, &["imported", "list", "--limit", "1101"]);
        assert_eq!(list["imported_api_keys"].as_array().unwrap().len(), 1_101);
        assert!(keys(&gateway, &["imported", "revoke", id, "--reason", "superseded"]).ok());
        assert_eq!(keys(&gateway, &["verify", "sk_live_1"]).code, Some(1));
        assert!(keys(&gateway, &["imported", "delete", id]).ok());
        std::fs::write(&file, "{\"raw_key\": \"sk_secret_9\"\n").unwrap();
        let broken = keys(&gateway, &["import-file", file.to_str().unwrap()]);
        assert!(!broken.ok() && broken.stderr.contains("keys.jsonl:1: expected a JSON object"), "{broken}");
        assert!(!broken.stderr.contains("sk_secret_9"), "a key shows");
    }

    async fn the_command_line_says_what_is_wrong_and_ends_with_one(store) {
        let gateway = guarded(store).await;
        let wrong = |args: &[&str], why: &str| {
            let output = gateway.cli(args);
            assert_eq!(output.code, Some(1), "{args:?}: {output}");
            assert!(output.stderr.contains(why) && output.stdout.is_empty(), "{args:?}: {output}");
        };
        let url = gateway.url();
        wrong(&["keys", "-e", url, "get", "unknown"], "(404 NOT_FOUND)");
        wrong(&["keys", "-e", url, "issue", "x", "--ttl", "tomorrow"], "`ttl`");
        wrong(&["keys", "-e", url, "issue", "x", "--rate-limit", "lots"], "--rate-limit: expected");
        wrong(&["keys", "-e", url, "issue", "x", "--metadata", "[]"], "--metadata: expected a JSON object");
        wrong(&["keys", "-e", url, "update", "x"], "nothing to change");
        wrong(&["keys", "-e", url, "issue", "x", "--limit", "a=5"], "--limit: expected NAME=QUOTA/WINDOW");
        wrong(&["keys", "-e", url, "issue", "x", "--limit", "a=5/1h:apples"], "`rate_limits[0].unit`");
        wrong(&["keys", "-e", url, "issue", "x", "--permission", "a..b"], "`a..b` is not a permission");
        wrong(&["keys", "-e", url, "issue", "x", "--refill", "weekly:5"], "--refill: expected daily:AMOUNT");
        wrong(&["keys", "-e", url, "credits", "x", "--set", "many"], "--set: expected a number");
        wrong(&["keys", "-e", url, "verify", "x", "--permission", "a AND"], "`permissions`: expected");
        wrong(&["keys", "-e", url, "import", "x", "--actor", "a", "--sha256", "abc"], "`hashed.digest`: expected");
        for unclear in [
            &["credits", "x"][..],
            &["credits", "x", "--set", "1", "--increment", "2"],
            &["import", "x", "--actor", "a"],
            &["import", "x", "--actor", "a", "--raw-key", "k", "--sha256", "d"],
        ] {
            let output = keys(&gateway, unclear);
            assert_eq!(output.code, Some(2), "{unclear:?}: {output}");
            assert!(output.stderr.contains("--help"), "{output}");
        }
        wrong(&["keys", "-e", "ftp://x", "list"], "--endpoint: expected");
        wrong(&["keys", "-e", "http://127.0.0.1:1", "list"], "no answer from http://127.0.0.1:1");
        let file = gateway.config_path().with_file_name("wrong.key");
        std::fs::write(&file, "another-key\n").unwrap();
        wrong(&["keys", "-e", url, "--admin-key-file", file.to_str().unwrap(), "list"], "(401 UNAUTHENTICATED)");
        assert_eq!(gateway.cli(&["keys", "revoke", "x", "--reason", "boredom"]).code, Some(2));
    }

    async fn the_configured_server_is_asked_with_the_configured_key_and_no_other_server_is_told_it(store) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("server:\n  listen: 127.0.0.1:{port}\n");
        let yaml = format!("{listen}admin_keys:\n  - {{name: v, key: viewer-key-1, role: viewer}}\n  - {{name: a, key: {ADMIN_KEY}}}\n");
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
        let issued = gateway.cli(&["keys", "issue", "x"]);
        assert!(issued.ok() && issued.stdout.contains("\nsecret: ory_ak_v1_"), "{issued}");
        assert!(!issued.stderr.contains("ory_ak_v1_"), "the secret shows on standard error");
        let elsewhere = keys(&gateway, &["list"]);
        assert!(elsewhere.code == Some(1) && elsewhere.stderr.contains("(401 UNAUTHENTICATED)"), "{elsewhere}");
    }

    async fn a_tenant_is_named_by_its_host(store) {
        let networks = format!("{}    - {{hostname: b.example, id: 550e8400-e29b-41d4-a716-446655440002}}\n", network_yaml());
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&networks).start().await;
        let issued = keys_json(&gateway, &["issue", "x", "--tenant", "a.example"]);
        let secret = text(&issued["secret"]);
        assert!(keys(&gateway, &["verify", secret, "--tenant", "a.example"]).ok());
        assert_eq!(keys(&gateway, &["verify", secret, "--tenant", "b.example"]).code, Some(1));
        let unknown = keys(&gateway, &["list", "--tenant", "c.example"]);
        assert!(!unknown.ok() && unknown.stderr.contains("network not found"), "{unknown}");
    }

    /// Proves: TALOS-C20
    async fn the_schema_is_migrated_beforehand_or_said_to_be_old(store) {
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        assert_eq!(printed(&gateway.cli(&["migrate", "status", "--json"]))["current"], json!(true));
        assert!(gateway.terminate().await);
        assert!(gateway.cli(&["migrate", "up"]).ok());
        let elsewhere = gateway.data_dir().join("other.db");
        let database = elsewhere.to_str().unwrap();
        assert_eq!(gateway.cli(&["migrate", "status", "--database", database]).code, Some(1));
        assert!(gateway.cli(&["migrate", "up", "--database", database]).ok());
        assert!(gateway.cli(&["migrate", "status", "--database", database]).ok());
    }
}

/// Proves: TALOS-C20
#[test]
fn signing_keys_are_made_and_are_what_the_configuration_takes() {
    for (algorithm, kind) in [("eddsa", "OKP"), ("rs256", "RSA")] {
        let made = Gateway::builder(BULKHEAD).run(&["jwk", "generate", algorithm, "--format", "json"]);
        let key = printed(&made);
        assert_eq!((&key["kty"], &key["use"]), (&json!(kind), &json!("sig")));
        assert!(key["d"].is_string() && made.stderr.is_empty());
        let set = Gateway::builder(BULKHEAD).run(&["jwk", "generate", algorithm, "--jwks", "--base64"]);
        let config = format!(
            "credentials: {{derived_tokens: {{jwt: {{signing_keys: {{urls: ['{}']}}}}}}}}\n",
            set.stdout.trim()
        );
        let checked = Gateway::builder(BULKHEAD).config(&config).run(&["validate"]);
        assert!(checked.ok(), "{checked}");
    }
}
