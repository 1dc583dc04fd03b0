//! Tenants' overlays and the list of networks (seed 003, Talos dossier §7.4 and §7.5): what refuses the start, what has
//! no effect, and that a bad overlay costs nobody but its tenant.

use std::time::{Duration, Instant};

use bh_testkit::{Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;

const PATIENCE: Duration = Duration::from_secs(10);
const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
const TWO: &str = "550e8400-e29b-41d4-a716-446655440002";
const JWKS: &str = "/v2alpha1/derivedKeys/jwks.json";

fn networks(entries: &[(&str, &str, &str)]) -> String {
    let entry = |(host, id, overlay): &(&str, &str, &str)| {
        let overlay = if overlay.is_empty() { String::new() } else { format!(", config_path: {overlay}") };
        format!("    - {{hostname: '{host}', id: {id}{overlay}}}\n")
    };
    let entries: String = entries.iter().map(entry).collect();
    format!("multitenancy:\n  enabled: true\n  networks:\n{entries}")
}

/// The status of a tenant's host.
async fn status(gateway: &Gateway, host: &str) -> u16 {
    Call::get(gateway.at(JWKS)).header("host", host).send().await.status
}

async fn ready(gateway: &Gateway) -> Value {
    Call::get(gateway.at("/readyz?verbose")).send().await.json()
}

async fn ready_when(gateway: &Gateway, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = ready(gateway).await;
        if wanted(&told) {
            return told;
        }
        assert!(Instant::now() < deadline, "{told}: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = Call::get(gateway.at("/metrics")).send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

on_both_stores! {
    /// Proves: TALOS-M05
    async fn a_network_needs_no_overlay(store) {
        let yaml = networks(&[("a.example", ONE, ""), ("b.example", TWO, "two.yaml")]);
        let overlay = "credentials: {issuer: https://two.example}\n";
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).file("two.yaml", overlay).start().await;
        assert_eq!([status(&gateway, "a.example").await, status(&gateway, "b.example").await], [200, 200]);
        assert_eq!(ready(&gateway).await["checks"]["tenants"], json!("ok"));
    }

    /// Proves: TALOS-M14
    async fn server_settings_in_an_overlay_do_nothing_but_warn(store) {
        let overlay = "\
serve: {http: {port: 1, trust_forwarded_host: true}}
db: {dsn: sqlite:///nowhere/at-all.db}
multitenancy: {enabled: false}
tracing: {enabled: true, sample_rate: 1}
credentials: {issuer: https://one.example}
";
        let yaml = networks(&[("a.example", ONE, "one.yaml")]);
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).file("one.yaml", overlay).start().await;
        assert_eq!(status(&gateway, "a.example").await, 200);
        assert_eq!(status(&gateway, "b.example").await, 404, "host names still decide");
        let forwarded = Call::get(gateway.at(JWKS)).header("host", "a.example").header("x-forwarded-host", "b.example");
        assert_eq!(forwarded.send().await.status, 200, "a forwarded host is not trusted");
        for key in ["serve", "db", "multitenancy", "tracing"] {
            let warning = format!("`{key}` is the same for every tenant");
            assert!(gateway.prints(&warning, PATIENCE).await, "{key}: {}", gateway.output());
            assert_eq!(gateway.output().matches(&warning).count(), 1, "{}", gateway.output());
        }
    }

    /// Proves: TALOS-M06
    async fn two_spellings_of_one_host_name_do_not_start_and_are_both_named(store) {
        let yaml = networks(&[("T1.example.com", ONE, ""), ("t1.EXAMPLE.com:99", TWO, "")]);
        let end = Gateway::builder(BULKHEAD).store(store).config(&yaml).try_start().await.unwrap_err();
        assert_ne!(end.code, Some(0));
        assert!(end.stderr.contains("`t1.EXAMPLE.com:99` is the same host name as `T1.example.com`"), "{end}");
    }

    async fn a_bad_overlay_on_reload_keeps_the_tenants_last_good_one_and_costs_nobody_else(store) {
        let both = |first: &str| networks(&[("a.example", ONE, first), ("b.example", TWO, "two.yaml")]);
        let overlay = "credentials: {issuer: https://one.example}\n";
        let builder = Gateway::builder(BULKHEAD).store(store).config(&both("one.yaml"));
        let mut gateway = builder.file("one.yaml", overlay).file("two.yaml", overlay).start().await;
        let home = gateway.config_path().parent().unwrap().to_owned();
        // The overlay alone changes, and nothing tells the gateway so.
        std::fs::write(home.join("one.yaml"), "credentials:\n  isuer: https://one.example\n").unwrap();
        let told = ready_when(&gateway, |told| told["checks"]["tenants"] == json!("degraded")).await;
        let fault = told["degraded_tenants"][ONE].as_str().unwrap().to_owned();
        assert!(fault.contains("one.yaml:2:3: credentials.isuer: unknown key; did you mean `issuer`?"), "{told}");
        assert_eq!((&told["status"], &told["checks"]["config"]), (&json!("ready"), &json!("current")), "{told}");
        assert_eq!(metric(&gateway, "bulkhead_tenants_degraded").await, 1);
        assert!(gateway.prints("it goes on with its last good settings", PATIENCE).await, "{}", gateway.output());
        assert_eq!([status(&gateway, "a.example").await, status(&gateway, "b.example").await], [200, 200]);
        // Another change gets through meanwhile.
        gateway.reload(&format!("{}    - {{hostname: c.example, id: {TWO}, config_path: two.yaml}}\n", both("one.yaml")));
        let told = ready_when(&gateway, |told| told["config_generation"].as_u64() > Some(2)).await;
        assert_eq!((status(&gateway, "c.example").await, &told["checks"]["tenants"]), (200, &json!("degraded")));
        // A missing one is bad, too; a good one ends it.
        std::fs::remove_file(home.join("one.yaml")).unwrap();
        let gone = |told: &Value| told["degraded_tenants"][ONE].as_str().is_some_and(|t| t.contains("can't read"));
        ready_when(&gateway, gone).await;
        std::fs::write(home.join("one.yaml"), overlay).unwrap();
        let told = ready_when(&gateway, |told| told["checks"]["tenants"] == json!("ok")).await;
        assert_eq!(told["degraded_tenants"], Value::Null);
        assert_eq!(metric(&gateway, "bulkhead_tenants_degraded").await, 0);
    }
}

#[tokio::test]
async fn a_new_tenant_with_a_bad_overlay_is_not_served_with_anothers_settings() {
    let one = networks(&[("a.example", ONE, "")]);
    let mut gateway = Gateway::builder(BULKHEAD).config(&one).file("two.yaml", "loud: 1\n").start().await;
    gateway.reload(&networks(&[("a.example", ONE, ""), ("b.example", TWO, "two.yaml")]));
    let told = ready_when(&gateway, |told| told["checks"]["config"] == json!("stale")).await;
    let fault = told["config_error"].as_str().unwrap();
    assert!(fault.contains(TWO) && fault.contains("two.yaml:1:1: loud: unknown key"), "{fault}");
    assert_eq!([status(&gateway, "a.example").await, status(&gateway, "b.example").await], [200, 404]);
}

/// By `serve` and by `validate` alike, with file and line.
#[tokio::test]
async fn what_contradicts_itself_or_is_missing_does_not_start() {
    let nil = "00000000-0000-0000-0000-000000000000";
    // The harness puts two lines in front: `server:` and `listen:`.
    for (yaml, wanted) in [
        (
            networks(&[("a.example", ONE, "gone.yaml")]),
            "bulkhead.yaml:6:86: multitenancy.networks[0].config_path: can't read `",
        ),
        (networks(&[("a.example", ONE, "bad.yaml")]), "bad.yaml:2:3: credentials.isuer: unknown key"),
        (
            networks(&[("a.example", nil, "")]),
            "bulkhead.yaml:6:35: multitenancy.networks[0].id: expected a UUID",
        ),
        (
            networks(&[("a b", ONE, "")]),
            "bulkhead.yaml:6:18: multitenancy.networks[0].hostname: expected a host name",
        ),
        (
            networks(&[("a.example", ONE, ""), ("b.example", ONE, "good.yaml")]),
            "multitenancy.networks[1].config_path: multitenancy.networks[0] gives the same id another overlay",
        ),
        (
            format!(
                "{}tenants:\n  - {{id: acme, nid: {TWO}, hostnames: [A.example:1]}}\n",
                networks(&[("a.example", ONE, "")])
            ),
            "`a.example` is a host name of tenants[0], whose network id is 550e8400-e29b-41d4-a716-446655440002",
        ),
    ] {
        let builder = Gateway::builder(BULKHEAD).config(&yaml);
        let builder = builder.file("bad.yaml", "credentials:\n  isuer: x\n").file("good.yaml", "{}\n");
        let checked = builder.run(&["validate"]);
        assert!(checked.code == Some(1) && checked.stderr.contains(wanted), "{yaml}{checked}");
        let end = builder.try_start().await.unwrap_err();
        assert!(end.code == Some(1) && end.stderr.contains(wanted), "{yaml}{end}");
    }
}
