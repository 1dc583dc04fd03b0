//! What is refused, and the exact line that says so.

use super::{lines, load_with, refusals};

#[test]
fn every_problem_of_a_file_is_reported_with_its_place_and_the_nearest_word() {
    let yaml = "\
server:
  listen: 127.0.0.1
  drain_timeout_ms: soon
  lisen: x
gateway:
  mode: enforced
  provders: {}
  callers:
    - name: 7
      api_key: k
      tenant_id: Acme
      polcy_overrides: {}
    - api_key: k2
evidence: {store_prompts: yes}
log: []
log: {}
";
    assert_eq!(
        refusals(yaml),
        [
            "bulkhead.yaml:2:11: server.listen: expected an address and port such as 127.0.0.1:8080",
            "bulkhead.yaml:3:21: server.drain_timeout_ms: expected a whole number, found text",
            "bulkhead.yaml:4:3: server.lisen: unknown key; did you mean `listen`?",
            "bulkhead.yaml:6:9: gateway.mode: expected one of enforce, shadow, log_only, found `enforced`; did you mean `enforce`?",
            "bulkhead.yaml:7:3: gateway.provders: unknown key; did you mean `providers`?",
            "bulkhead.yaml:9:13: gateway.callers[0].name: expected text, found a number: put it in quotes",
            "bulkhead.yaml:11:18: gateway.callers[0].tenant_id: a tenant id is 1 to 56 lower-case letters, digits and inner hyphens",
            "bulkhead.yaml:12:7: gateway.callers[0].polcy_overrides: unknown key; did you mean `policy_overrides`?",
            "bulkhead.yaml:13:7: gateway.callers[1]: `name` is missing",
            "bulkhead.yaml:14:27: evidence.store_prompts: expected true or false, found text",
            "bulkhead.yaml:15:6: log: expected a mapping, found a list",
            "bulkhead.yaml:16:1: duplicate key `log`",
        ]
    );
}

#[test]
fn contradictions_between_settings_are_reported_together() {
    let yaml = "\
admin_keys:
  - {name: root, key: same-key}
api_keys: [{key: same-key}]
gateway:
  providers:
    openai: {fallback: [{provider: anthropic}, {provider: opnai}]}
    anthropic: {}
    mine: {retry: {initial_backoff: 5s, max_backoff: 1m}}
  callers:
    - {name: a, api_key: k1, tenant_key: k2}
    - {name: a, api_key: k3, allowed_providers: [openia]}
    - {name: b}
    - {name: c, identify_by: source_ip}
models: {fast: gpt-4o, slow: nobody/gpt}
";
    assert_eq!(
        refusals(yaml),
        [
            "bulkhead.yaml:3:18: api_keys[0].key: the same key as admin_keys[0].key: every key needs its own value",
            "bulkhead.yaml:6:36: gateway.providers.openai.fallback[0].provider: `anthropic` speaks another wire; a fallback must share `api_family`",
            "bulkhead.yaml:6:59: gateway.providers.openai.fallback[1].provider: `opnai` is not in gateway.providers; did you mean `openai`?",
            "bulkhead.yaml:8:11: gateway.providers.mine: needs `base_url`",
            "bulkhead.yaml:8:54: gateway.providers.mine.retry.max_backoff: at most 30s",
            "bulkhead.yaml:10:7: gateway.callers[0]: `api_key` and `tenant_key` are two names of one thing: keep one",
            "bulkhead.yaml:11:14: gateway.callers[1].name: the name `a` is taken by gateway.callers[0]",
            "bulkhead.yaml:11:50: gateway.callers[1].allowed_providers[0]: `openia` is not in gateway.providers; did you mean `openai`?",
            "bulkhead.yaml:12:7: gateway.callers[2]: needs `api_key`, or `identify_by: source_ip`",
            "bulkhead.yaml:13:7: gateway.callers[3]: `identify_by: source_ip` needs `source_ip_ranges`",
            "bulkhead.yaml:14:16: models.fast: expected `provider/model`, or a list of {provider, model}",
            "bulkhead.yaml:14:30: models.slow: `nobody` is not in gateway.providers",
        ]
    );
}

#[test]
fn a_name_that_no_store_could_record_is_refused() {
    let long = "x".repeat(257);
    let yaml = format!(
        "gateway:
  providers:
    openai: {{fallback: [{{provider: openai, model: \"a\\0b\"}}]}}
  callers:
    - {{name: \"a\\0b\", api_key: k1}}
    - {{name: {long}, api_key: k2}}
models: {{fast: \"openai/a\\tb\"}}
"
    );
    let refused = "at most 256 bytes, and no control character: it is recorded";
    assert_eq!(
        refusals(&yaml),
        [
            format!("bulkhead.yaml:3:51: gateway.providers.openai.fallback[0].model: {refused}"),
            format!("bulkhead.yaml:5:14: gateway.callers[0].name: {refused}"),
            format!("bulkhead.yaml:6:14: gateway.callers[1].name: {refused}"),
            format!("bulkhead.yaml:7:16: models.fast: {refused}"),
        ]
    );
}

#[test]
fn a_missing_variable_is_named_with_its_line() {
    let yaml = "gateway:\n  providers:\n    openai: {api_key: \"${env:NOT_SET}\"}\n";
    let line =
        "bulkhead.yaml:3:23: gateway.providers.openai.api_key: the environment variable NOT_SET is not set";
    assert_eq!(refusals(yaml), [line]);
}

#[test]
fn ranges_and_lengths_hold() {
    let yaml = "server: {max_connections: 0, body_bytes_max: 99999999999}\nsecrets: {master_key: short}\ncache: {similarity_threshold: 1.5}\npricing: {currency: usd}\n";
    assert_eq!(
        refusals(yaml),
        [
            "bulkhead.yaml:1:27: server.max_connections: must be at least 1",
            "bulkhead.yaml:1:46: server.body_bytes_max: must be at most 1073741824",
            "bulkhead.yaml:2:23: secrets.master_key: must have at least 32 characters",
            "bulkhead.yaml:3:31: cache.similarity_threshold: must lie between 0 and 1",
            "bulkhead.yaml:4:21: pricing.currency: expected a code of three capital letters such as USD",
        ]
    );
}

#[test]
fn a_wrong_variable_is_named() {
    let env = [
        ("BULKHEAD_SERVER__LISEN", "x"),
        ("BULKHEAD_SERVER__MAX_CONNECTIONS", "many"),
        ("TALON_ADMIN_KEY_FILE", "/gone"),
    ];
    assert_eq!(
        lines(&load_with("", &env).unwrap_err()),
        [
            "TALON_ADMIN_KEY_FILE: can't read `/gone`: no such file",
            "BULKHEAD_SERVER__LISEN: `LISEN` is not a known key; did you mean `listen`?",
            "BULKHEAD_SERVER__MAX_CONNECTIONS: server.max_connections: expected a whole number, found text",
        ]
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_never_repeated() {
    let yaml = "server: {admin_auth: \"${env:S}\", listen: \"${env:S}\", max_connections: \"${env:S}\"}\nstore: {url: \"${env:S}\"}\n";
    let problems = load_with(yaml, &[("S", "hunter2")]).unwrap_err();
    assert_eq!(problems.len(), 4);
    assert!(!lines(&problems).join("\n").contains("hunter2"), "{:?}", lines(&problems));
}

#[test]
fn host_names_that_normalise_to_one_refuse_the_start() {
    let id = "550e8400-e29b-41d4-a716-446655440001";
    let yaml = format!(
        "multitenancy:\n  networks:\n  - {{hostname: T.example.com, id: {id}}}\n  - {{hostname: 't.example.com:443', id: {id}}}\n"
    );
    let line = "bulkhead.yaml:4:16: multitenancy.networks[1].hostname: `t.example.com:443` is the same host name as `T.example.com` of multitenancy.networks[0].hostname: both normalise to `t.example.com`";
    assert_eq!(refusals(&yaml), [line]);
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_line() {
    let problems = refusals("server:\n  listen: \"x\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("bulkhead.yaml:") && problems[0].contains("not YAML"), "{problems:?}");
    assert!(refusals("just text")[0].contains("expected a mapping, found text"));
}

#[test]
fn a_price_file_is_checked_like_the_configuration() {
    let lost = refusals("pricing: {file: /nowhere.yaml}\n");
    assert_eq!(lost, ["bulkhead.yaml:1:17: pricing.file: can't read `/nowhere.yaml`: no such file"]);
    let wrong = refusals("pricing: {file: '/secret/currency: EUR'}\n");
    assert_eq!(
        wrong,
        ["bulkhead.yaml:1:17: pricing.file: its currency is not `USD`: amounts are never converted"]
    );
    let bad = refusals("pricing: {file: '/secret/provider: {}'}\n");
    assert_eq!(bad, ["/secret/provider: {}:1:1: provider: unknown key; did you mean `providers`?"]);
}

#[test]
fn a_currency_that_nobody_is_charged_in_and_a_price_given_twice_are_refused() {
    let yaml =
        "pricing: {currency: EUR}\nbilling:\n  currency: USD\n  prices: {api_call: 1, api_calls_per_1k: 2}\n";
    let lines = [
        "bulkhead.yaml:3:13: billing.currency: `USD` is not `pricing.currency`, EUR, and nothing is converted",
        "bulkhead.yaml:4:22: billing.prices.api_call: `api_call` and `api_calls_per_1k` are one price: keep one",
    ];
    assert_eq!(refusals(yaml), lines);
}

#[test]
fn the_number_of_problems_is_bounded() {
    let yaml: String = (0..500).map(|n| format!("zzz{n}: 1\n")).collect();
    let problems = refusals(&yaml);
    assert_eq!(problems.len(), crate::PROBLEMS_MAX + 1);
    assert_eq!(problems.last().unwrap(), "bulkhead.yaml: and 400 more problems");
}

#[test]
fn a_webhook_endpoint_that_could_tell_nobody_is_refused_and_its_secret_is_not_repeated() {
    let yaml = "\
webhooks:
  first_retry: 0s
  retention_days: 7
  endpoints:
    - {id: Billing, url: ftp://x, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
";
    assert_eq!(
        refusals(yaml),
        [
            "bulkhead.yaml:3:19: webhooks.retention_days: must be at least 40",
            "bulkhead.yaml:5:26: webhooks.endpoints[0].url: expected an absolute URL such as https://api.example.com/v1",
        ]
    );
    let yaml = "\
webhooks:
  first_retry: 0s
  endpoints:
    - {id: Billing, url: 'http://a/', secret: hush-hush, events: [key.revokd, '*']}
    - id: ops
      url: http://b/
      secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
      previous_secrets: [whsec_aHVzaA==]
    - {id: ops, url: 'http://c/'}
";
    assert_eq!(
        refusals(yaml),
        [
            "bulkhead.yaml:2:16: webhooks.first_retry: must be longer than 0s",
            "bulkhead.yaml:4:12: webhooks.endpoints[0].id: an id is 1 to 63 lower-case letters, digits, `-` and `_`",
            "bulkhead.yaml:4:47: webhooks.endpoints[0].secret: must begin with `whsec_`",
            "bulkhead.yaml:4:67: webhooks.endpoints[0].events[0]: `key.revokd` is no event; expected a kind, `family.*` or `*`; did you mean `key.revoked`?",
            "bulkhead.yaml:8:26: webhooks.endpoints[1].previous_secrets[0]: must hold 24 to 64 bytes, e.g. `whsec_` and the output of `openssl rand -base64 32`",
            "bulkhead.yaml:9:7: webhooks.endpoints[2]: needs `secret` or `secret_file`",
            "bulkhead.yaml:9:12: webhooks.endpoints[2].id: the id `ops` is taken by webhooks.endpoints[1]",
        ]
    );
}
