//! The key server as a program: its configuration, its planes and its probes (seed 003, Talos dossier §8 and §10).

use bh_testkit::{Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_command_line::printed;

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
