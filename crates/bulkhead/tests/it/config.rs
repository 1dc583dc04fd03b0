//! Configuration from the outside: what is refused and where, and what the tools print.

use bh_testkit::{Call, CliOutput, Gateway, GatewayBuilder};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;

/// A fragment of a seed document, which `bh-config` reads in its own tests too.
macro_rules! seed {
    ($name:literal) => {
        include_str!(concat!("../../../bh-config/fixtures/seeds/", $name, ".yaml"))
    };
}

/// The fragments of the four seed documents, as they are written there (seed 003's with its indentation put back),
/// and what of each is accepted but not active yet.
const SEED_FRAGMENTS: &[(&str, &[&str])] = &[
    (seed!("000-callers"), &[]),
    (seed!("001-multi-tenant"), &[]),
    (seed!("001-migration"), &[]),
    (seed!("002-tenant-key"), &[]),
    (seed!("003-networks"), &[]),
    (seed!("003-forwarded-host"), &[]),
    (seed!("003-overlay"), &[]),
];

/// Seed 003's overlays, beside the configuration.
fn builder(yaml: &str) -> GatewayBuilder {
    let overlay = seed!("003-overlay");
    let builder = Gateway::builder(BULKHEAD).config(&yaml.replace("/etc/talos/", ""));
    builder.file("tenant1.yaml", overlay).file("tenant2.yaml", overlay)
}

fn run(yaml: &str, args: &[&str]) -> CliOutput {
    builder(yaml).env("TENANT_KEY", "some-key").run(args)
}

#[test]
fn every_seed_fragment_validates_and_says_what_is_not_active_yet() {
    for (yaml, inactive) in SEED_FRAGMENTS {
        let text = run(yaml, &["validate"]);
        assert!(text.ok() && text.stdout.ends_with("the configuration is valid\n"), "{yaml}\n{text}");
        let told = run(yaml, &["validate", "--json"]);
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        let named = told["accepted_not_active_yet"].as_array().unwrap().iter().map(|part| &part["path"]);
        assert_eq!(named.collect::<Vec<_>>(), inactive.iter().collect::<Vec<_>>(), "{yaml}");
        for path in *inactive {
            assert!(text.stdout.contains(&format!("accepted, not active yet: {path} (")), "{text}");
        }
        let strict = run(yaml, &["validate", "--strict"]);
        assert_eq!(strict.ok(), inactive.is_empty(), "{yaml}\n{strict}");
    }
}

#[tokio::test]
async fn all_seed_fragments_together_are_served() {
    let fragments: String = [0, 1, 4, 5, 6].iter().map(|&index| SEED_FRAGMENTS[index].0).collect();
    let globex = "tenants:\n  - {id: globex, nid: 550e8400-e29b-41d4-a716-446655440001}\n";
    let gateway = builder(&format!("{fragments}{globex}")).start().await;
    let call = Call::get(gateway.at("/v1/status")).header("host", "tenant1.talos.example.com");
    let status = call.header("x-talon-key", "talon-gw-globex-xyz").send().await;
    assert_eq!((status.status, &status.json()["tenant_id"]), (200, &json!("globex")));
}

/// Each is refused by `serve` and by `validate` alike, in the same words.
#[tokio::test]
async fn a_wrong_file_is_refused_with_its_place_and_the_nearest_word() {
    // The harness puts two lines in front: `server:` and `listen:`.
    for (yaml, wanted) in [
        ("gatewy:\n  callers: []\n", "bulkhead.yaml:3:1: gatewy: unknown key; did you mean `gateway`?"),
        (
            "gateway:\n  callers:\n    - {name: a, api_kee: k}\n",
            "bulkhead.yaml:5:17: gateway.callers[0].api_kee: unknown key; did you mean `api_key`?",
        ),
        ("log: {level: info}\nlog: {level: warn}\n", "bulkhead.yaml:4:1: duplicate key `log`"),
        (
            "budgets: {default_output_tokens: many}\n",
            "bulkhead.yaml:3:34: budgets.default_output_tokens: expected a whole number, found text",
        ),
        (
            "log: {level: loud}\n",
            "bulkhead.yaml:3:14: log.level: expected one of trace, debug, info, warn, error",
        ),
        (
            "gateway:\n  providers:\n    openai: {api_key: \"${env:NOT_SET}\"}\n",
            "bulkhead.yaml:5:23: gateway.providers.openai.api_key: the environment variable NOT_SET is not set",
        ),
        ("log: [\n", "bulkhead.yaml:"),
    ] {
        let served =
            Gateway::builder(BULKHEAD).config(yaml).try_start().await.expect_err("it must not start");
        assert!(served.code == Some(1) && served.stderr.contains(wanted), "{yaml}{served}");
        let checked = run(yaml, &["validate"]);
        assert!(checked.code == Some(1) && checked.stderr.contains(wanted), "{yaml}{checked}");
    }
    let missing = Gateway::builder(BULKHEAD).run(&["validate", "--config", "nowhere.yaml"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("nowhere.yaml cannot be read"), "{missing}");
}

#[test]
fn problems_as_json_name_file_line_path_and_suggestion() {
    let told = run("gatewy: {}\n", &["validate", "--json"]);
    assert_eq!(told.code, Some(1));
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let problem = &told["problems"][0];
    assert_eq!(told["valid"], json!(false));
    assert_eq!(
        (&problem["line"], &problem["column"], &problem["path"], &problem["suggestion"]),
        (&json!(3), &json!(1), &json!("gatewy"), &json!("gateway")),
    );
    assert!(problem["source"].as_str().is_some_and(|source| source.ends_with("bulkhead.yaml")));
}

#[test]
fn the_default_file_is_itself_valid_and_the_schema_covers_it() {
    let default = Gateway::builder(BULKHEAD).run(&["config", "default"]);
    assert!(default.ok() && default.stdout.starts_with("# Bulkhead's configuration"), "{default}");
    let checked = Gateway::builder(BULKHEAD).file("default.yaml", default.stdout.clone());
    let checked = checked.run(&["validate", "--file", "default.yaml", "--strict"]);
    assert!(checked.ok(), "{checked}");
    let schema = Gateway::builder(BULKHEAD).run(&["config", "schema"]);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    for line in default.stdout.lines() {
        let key = line.trim_start_matches('#').split(':').next().unwrap();
        let top =
            line.contains(':') && !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
        assert!(!top || schema["properties"][key].is_object(), "`{key}` is not in the schema");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn show_masks_secrets_and_explain_tells_every_layer() {
    let yaml = "log: {level: debug}\ngateway:\n  callers:\n    - {name: app, tenant_key: tenant-secret-1, tenant_id: acme}\n  rate_limits: {per_tenant_requests_per_min: 90}\ntenants:\n  - {id: acme, rate_limits: {requests_per_minute: 7}}\n";
    let builder = Gateway::builder(BULKHEAD)
        .config(yaml)
        .env("BULKHEAD_LOG__LEVEL", "warn")
        .env("TALON_ADMIN_KEY", "admin-secret-2")
        .env("OPENAI_API_KEY", "sk-secret-3");
    let shown = builder.run(&["config", "show"]);
    assert!(shown.ok() && shown.stdout.contains("per_tenant_requests_per_min: 90"), "{shown}");
    for secret in ["tenant-secret-1", "admin-secret-2", "sk-secret-3"] {
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
    let explained = builder.run(&["config", "explain", "log.level", "--json"]);
    let explained: Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!((&explained["path"], &explained["value"]), (&json!("log.level"), &json!("warn")));
    let layers = explained["layers"].as_array().unwrap();
    let said: Vec<_> =
        layers.iter().map(|layer| (layer["layer"].as_str(), layer["value"].as_str())).collect();
    assert_eq!(
        said,
        [(Some("default"), Some("info")), (Some("file"), Some("debug")), (Some("environment"), Some("warn"))]
    );
    let places: Vec<_> = layers.iter().map(|layer| layer["place"].as_str().unwrap()).collect();
    assert!(places[1].ends_with("bulkhead.yaml:3") && places[2] == "BULKHEAD_LOG__LEVEL", "{places:?}");
    let key = "gateway.rate_limits.per_tenant_requests_per_min";
    for (args, wanted) in [
        (vec!["config", "explain", key], format!("{key} = 90")),
        (
            vec!["config", "explain", key, "--tenant", "acme"],
            "tenants[0].rate_limits.requests_per_minute = 7".to_owned(),
        ),
        (vec!["config", "explain", key, "--tenant", "globex"], format!("{key} = 90")),
    ] {
        let told = builder.run(&args);
        assert!(told.ok() && told.stdout.starts_with(&wanted), "{args:?} {told}");
    }
    let unknown = builder.run(&["config", "explain", "log.levle"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("did you mean"), "{unknown}");
}
