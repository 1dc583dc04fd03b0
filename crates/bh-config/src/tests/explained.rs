//! `config explain` and `config show`.

use super::{load_with, loaded};
use crate::{Layer, Say};

fn say(layer: Layer, place: &str, value: &str) -> Say {
    Say { layer, place: place.to_owned(), value: value.to_owned() }
}

#[test]
fn every_layer_has_its_say_and_the_last_one_counts() {
    let yaml = "server:\n  drain_timeout_ms: 5\n";
    let loaded = load_with(yaml, &[("BULKHEAD_SERVER__DRAIN_TIMEOUT_MS", "7")]).unwrap();
    let told = loaded.explain("server.drain_timeout_ms", None).unwrap();
    assert_eq!(told.value, "7");
    assert_eq!(
        told.layers,
        [
            say(Layer::Default, "built in", "10000"),
            say(Layer::File, "bulkhead.yaml:2", "5"),
            say(Layer::Environment, "BULKHEAD_SERVER__DRAIN_TIMEOUT_MS", "\"7\""),
        ]
    );
}

#[test]
fn a_tenants_own_setting_is_laid_over_the_servers() {
    let yaml = "evidence: {durability: strict}\ntenants:\n  - {id: acme, evidence: {durability: relaxed}, budgets: {daily: 5}}\n  - {id: globex}\n";
    let loaded = loaded(yaml);
    let acme = loaded.explain("evidence.durability", Some("acme")).unwrap();
    assert_eq!((acme.path.as_str(), acme.value.as_str()), ("tenants[0].evidence.durability", "relaxed"));
    assert_eq!(
        acme.layers,
        [
            say(Layer::Default, "built in", "strict"),
            say(Layer::File, "bulkhead.yaml:1", "strict"),
            say(Layer::Tenant, "bulkhead.yaml:3", "relaxed"),
        ]
    );
    assert_eq!(loaded.explain("evidence.durability", Some("globex")).unwrap().value, "strict");
    assert_eq!(loaded.explain("timezone", Some("nobody")).unwrap().value, "UTC");
    assert_eq!(loaded.explain("budgets.daily", Some("acme")).unwrap().value, "\"5\"");
}

#[test]
fn secrets_are_masked_in_every_say() {
    let loaded = load_with("store: {url: 'postgres://u:hunter2@h/d'}\nsecrets: {hmac: {retired: [hunter2hunter2hunter2hunter2hunter2]}}\n", &[("DATABASE_URL", "postgres://u:hunter3@h/d")]).unwrap();
    for path in ["store", "store.url", "secrets", "secrets.hmac", "secrets.hmac.retired[0]"] {
        let told = format!("{:?}", loaded.explain(path, None).unwrap());
        assert!(!told.contains("hunter"), "{told}");
    }
    assert_eq!(loaded.explain("store.url", None).unwrap().layers.len(), 2);
    assert_eq!(loaded.explain("secrets.hmac", None).unwrap().comes_with, None);
}

#[test]
fn a_setting_that_does_not_exist_is_refused_with_the_nearest_one() {
    let error = loaded("").explain("server.lisen", None).unwrap_err();
    assert_eq!(error.to_string(), "there is no setting `server.lisen`; did you mean `listen`?");
    assert!(loaded("").explain("server..x", None).is_err());
}

#[test]
fn what_is_shown_loads_again_as_the_same_but_for_its_secrets() {
    let yaml = "gateway:\n  providers: {openai: {api_key: s}}\n  callers: [{name: a, api_key: k, tags: ['1', x]}]\ntenants: [{id: acme, budgets: {daily: 0.5}}]\npricing: {providers: {x: {models: {'a.b': {input_per_1m: 1, output_per_1m: 2}}}}}\n";
    let shown = loaded(yaml).show();
    let again = loaded(&shown).show();
    assert_eq!(shown, again);
}
