//! Every configuration fragment of the four seed documents loads as it is written there.
//!
//! They stand in `fixtures/seeds`, where the black-box tests read them too. Seed 003's text lost its indentation; it is put back here. Seed 001 also shows a Kubernetes manifest, which is not
//! configuration, and an environment file, which the layer tests load.

use super::{load_with, loaded};

const SEED_000: &str = include_str!("../../fixtures/seeds/000-callers.yaml");
const SEED_001_MULTI_TENANT: &str = include_str!("../../fixtures/seeds/001-multi-tenant.yaml");
const SEED_001_MIGRATION: &str = include_str!("../../fixtures/seeds/001-migration.yaml");
const SEED_002: &str = include_str!("../../fixtures/seeds/002-tenant-key.yaml");
const SEED_003_NETWORKS: &str = include_str!("../../fixtures/seeds/003-networks.yaml");
const SEED_003_FORWARDED_HOST: &str = include_str!("../../fixtures/seeds/003-forwarded-host.yaml");
pub(super) const SEED_003_OVERLAY: &str = include_str!("../../fixtures/seeds/003-overlay.yaml");

#[test]
fn seed_000_callers_have_their_tenants_and_caps() {
    let gateway = loaded(SEED_000).config.gateway.unwrap();
    let callers: Vec<_> = gateway
        .callers
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.key().unwrap().expose(),
                c.tenant(),
                c.policy_overrides.max_daily_cost.as_ref().unwrap().0.0,
            )
        })
        .collect();
    assert_eq!(
        callers,
        [
            ("customer-acme-app1", "talon-gw-acme-abc", "acme", 50_000_000_000),
            ("customer-globex-bot", "talon-gw-globex-xyz", "globex", 20_000_000_000),
        ]
    );
    assert!(gateway.enabled);
}

#[test]
fn seed_001_tenancy_is_read_whole() {
    for yaml in [SEED_001_MULTI_TENANT, SEED_001_MIGRATION] {
        let loaded = loaded(yaml);
        let tenancy = loaded.config.multi_tenant.unwrap();
        let read =
            (tenancy.enabled, tenancy.fallback_tenant_id.unwrap().to_string(), tenancy.tenant_id_header.0);
        assert_eq!(read, (true, "default".to_owned(), "X-Tenant-ID".to_owned()));
        assert_eq!((tenancy.rate_limits.requests_per_day, tenancy.quotas.max_storage_mb), (1_000_000, 1_000));
        assert!(loaded.inactive.is_empty(), "{:?}", loaded.inactive);
    }
}

#[test]
fn seed_002_tenant_key_is_another_name_of_the_key() {
    let gateway = load_with(SEED_002, &[("TENANT_KEY", "tk-1")]).unwrap().config.gateway.unwrap();
    assert_eq!(gateway.callers[0].key().unwrap().expose(), "tk-1");
}

#[test]
fn seed_003_networks_listeners_and_overlays_are_read_and_reported() {
    let loaded = loaded(&format!("{SEED_003_NETWORKS}{SEED_003_FORWARDED_HOST}{SEED_003_OVERLAY}"));
    let networks = loaded.config.multitenancy.unwrap().networks;
    let first = (networks[0].hostname.to_string(), networks[0].id.to_string());
    assert_eq!(
        first,
        ("tenant1.talos.example.com".to_owned(), "550e8400-e29b-41d4-a716-446655440001".to_owned())
    );
    assert_eq!(networks[1].config_path.as_deref(), Some("/etc/talos/tenant2.yaml"));
    assert!(loaded.config.serve.unwrap().http.trust_forwarded_host);
    let prefix = loaded.config.credentials.unwrap().api_keys.prefix.current.unwrap();
    assert_eq!(prefix.0, "t3");
    let inactive: Vec<_> =
        loaded.inactive.iter().map(|i| (i.path.as_str(), i.source.as_str(), i.line)).collect();
    assert_eq!(inactive, []);
}

#[test]
fn all_fragments_load_together() {
    let all = [SEED_000, SEED_001_MULTI_TENANT, SEED_003_NETWORKS, SEED_003_FORWARDED_HOST, SEED_003_OVERLAY]
        .concat();
    assert!(loaded(&all).inactive.is_empty());
}

/// The newer generation of Talon's gateway block, every key of it.
#[test]
fn both_generations_of_the_gateway_block_load() {
    let yaml = r#"
secrets_key: "0123456789abcdef0123456789abcdef"
log_level: debug
log_format: console
agents_reload_interval: "0"
llm: {pricing_file: pricing/models.yaml, routing: {data_sovereignty_mode: eu_strict}}
sovereignty: {deployment_mode: air_gap, allowed_egress_hosts: [api.openai.com]}
scanner: {type: presidio, endpoint: "http://presidio:5001", timeout: 10s, min_score: 0.5}
cache: {enabled: true, default_ttl: 3600, ttl_by_tier: {public: 60}, similarity_threshold: 0.92}
gateway:
  enabled: true
  listen_prefix: /v1/proxy
  mode: shadow
  providers:
    openai:
      secret_name: openai-api-key
      base_url: https://api.openai.com
      region: US
      allowed_models: [gpt-4o]
      responses_store_mode: force_if_absent
      fallback: [{provider: azure-like, model: gpt-4o}]
    azure-like: {api_family: openai, base_url: "https://eu.example.com/v1"}
  organization_policy:
    defaults:
      pii_action: redact
      daily_cost: 100
      attachment_policy: {action: warn, injection_action: block, max_file_size_mb: 10}
      retry: {max_attempts: 2, initial_backoff: 250ms, max_backoff: 2s}
    constraints:
      allowed_providers: [openai]
      max_data_tier: confidential
      egress: {default_action: deny, rules: [{tier: 1, allowed_regions: [EU]}]}
    cost_webhook_url: https://hooks.example.com/x
  default_policy: {default_pii_action: warn, max_daily_cost: 100, require_caller_id: true, scan_tool_content: evidence_only}
  callers:
    - {name: a, tenant_key: k1, tags: [x], accept_client_metadata: false}
    - {name: b, identify_by: source_ip, source_ip_ranges: [10.0.0.0/8], policy_overrides: {max_data_tier: 2}}
  rate_limits: {global_requests_per_min: 300, per_agent_requests_per_min: 60}
  timeouts: {connect_timeout: 10s, request_timeout: 2m, stream_idle_timeout: 1m}
  response_scanning: {enabled: true}
  network_interception: {enabled: false, intercept_hosts: [{original: api.openai.com, provider: openai, note: x}], tls: {cert_dir: /c}}
"#;
    let config = loaded(yaml).config;
    let gateway = config.gateway.unwrap();
    assert_eq!(gateway.rate_limits.per_caller_requests_per_min, Some(60));
    assert_eq!(gateway.timeouts.request_timeout.0.as_secs(), 120);
    assert_eq!(config.secrets.master_key.unwrap().expose(), "0123456789abcdef0123456789abcdef");
    assert_eq!(config.log.level.as_str(), "debug");
}
