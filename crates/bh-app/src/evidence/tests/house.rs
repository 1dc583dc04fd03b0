//! A gateway without doors: store, recorder, checkpointer and a configuration with two tenants.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bh_domain::budget::TimeZone;
use bh_domain::evidence::checkpoint::SigningKey;
use bh_domain::evidence::record::{
    AuditTrail, Compliance, ContentHash, Durability as Recorded, Execution, PolicyDecision, Tokens,
};
use bh_domain::evidence::{Draft, HmacKey};
use bh_domain::keys::imported::HashVersion;
use bh_domain::money::NanoUsd;
use bh_domain::price::PriceTable;
use bh_domain::tenant::profile::{Features, Limits};
use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;
use http::HeaderName;

use super::fake::{FakeStore, tenant_row};
use crate::budgets::{BudgetKeeper, ZoneClock};
use crate::evidence::{EvidenceReads, Reach};
use crate::identity::{KeyHasher, Keyring};
use crate::metrics::Metrics;
use crate::ports::{Clock, EvidenceStore, Holder, SystemClock};
use crate::recorder::{Checkpointer, Entry, Recorder, RecorderOptions};
use crate::snapshot::{
    Accounts, CacheKind, CacheSettings, Caller, CallerPolicy, CallerSource, Caps, DerivedSettings,
    Durability, EvidencePolicy, HmacSecret, KeyPrefixes, KeySettings, Live, McpSettings, OnFailure, Origin,
    Snapshot, Tenant, TenantSecrets,
};

use crate::tenants::{MadeTenants, Plan, Presets};

/// 2026-11-21T09:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_253_400_000);
pub(crate) const ACME: Nid = Nid(uuid::Uuid::from_u128(0xacce));
pub(crate) const GLOBEX: Nid = Nid(uuid::Uuid::from_u128(0x910b));

/// A clock that is set.
pub(crate) struct FixedClock(pub(crate) AtomicI64);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_ns(&self) -> u64 {
        1
    }
}

pub(crate) struct House {
    pub(crate) store: Arc<FakeStore>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) recorder: Recorder,
    pub(crate) live: Live,
    pub(crate) evidence: EvidenceReads,
}

pub(crate) fn key() -> HmacKey {
    HmacKey::parse("a signing key of thirty-two bytes").unwrap()
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_seed("bulkhead.example", &[7; 32]).unwrap()
}

impl House {
    /// Empty. Must be made inside a runtime: the writer runs as a task.
    pub(crate) fn new() -> Self {
        let store = Arc::new(FakeStore::default());
        store.rows.lock().tenants = vec![tenant_row("acme", ACME), tenant_row("globex", GLOBEX)];
        let clock = Arc::new(FixedClock(AtomicI64::new(NOW.0)));
        let options =
            RecorderOptions { signing_key: key(), holder: Holder::default(), on_failure: OnFailure::Refuse };
        let as_evidence = || Arc::clone(&store) as Arc<dyn EvidenceStore>;
        let recorder = Recorder::new(as_evidence(), Metrics::new(), options);
        let writer = recorder.clone();
        tokio::spawn(async move { writer.run().await });
        let signer = Arc::new(signing_key());
        let checkpointer =
            Checkpointer::new(recorder.clone(), as_evidence(), Arc::clone(&clock) as Arc<dyn Clock>, signer);
        let evidence = EvidenceReads::new(as_evidence(), checkpointer, key());
        Self { store, clock, recorder, live: Arc::new(ArcSwap::from_pointee(snapshot())), evidence }
    }

    /// A house in which acme has `records` records and globex three.
    pub(crate) async fn with(records: u32) -> Self {
        let house = Self::new();
        for number in 1..=records {
            house.put(draft("acme", ACME, number));
        }
        for number in 1..=3 {
            house.put(draft("globex", GLOBEX, number));
        }
        house.written().await;
        house
    }

    pub(crate) fn put(&self, draft: Draft) {
        let entry = Entry::of(draft);
        drop(self.recorder.submit(entry, Durability::Strict));
    }

    pub(crate) async fn written(&self) {
        assert!(self.recorder.drain(Duration::from_secs(5)).await);
    }
}

pub(crate) fn acme() -> Reach {
    Reach::Tenant { id: "acme".to_owned(), nid: ACME }
}

pub(crate) fn globex() -> Reach {
    Reach::Tenant { id: "globex".to_owned(), nid: GLOBEX }
}

pub(crate) fn record_id(tenant: &str, number: u32) -> String {
    format!("gw_{tenant}_{number:06}")
}

/// One decision: every third is a denial, every second is of agent `b`, one a second.
pub(crate) fn draft(tenant: &str, nid: Nid, number: u32) -> Draft {
    let denied = number.is_multiple_of(3);
    let cost = if denied { NanoUsd::ZERO } else { NanoUsd(i64::from(number) * 1_000) };
    Draft {
        agent_id: if number.is_multiple_of(2) { "b" } else { "a" }.into(),
        audit_trail: AuditTrail { input_hash: ContentHash([0xaa; 32]), output_hash: ContentHash([0xbb; 32]) },
        classification: None,
        compliance: Compliance::default(),
        correlation_id: format!("corr-{tenant}-{}", number / 2).into(),
        cost_budget: None,
        durability: Recorded::Strict,
        execution: Execution {
            cost,
            cost_nano_usd: cost,
            currency: "USD".into(),
            duration_ms: 3,
            error: None,
            estimated_cost: None,
            http_status: None,
            model_used: "gpt-4o-mini".into(),
            original_model: None,
            pricing_basis: "table".into(),
            pricing_known: true,
            provider: "openai".into(),
            streamed: false,
            tokens: Tokens { input: 5, output: 7, ..Tokens::default() },
            ttft_ms: None,
            usage_estimated: false,
        },
        explanations: Vec::new(),
        failover: None,
        failure_reason: None,
        gateway_annotations: Vec::new(),
        id: record_id(tenant, number).into(),
        invocation_type: "gateway".into(),
        key_id: None,
        nid,
        policy_decision: PolicyDecision {
            action: if denied { "deny" } else { "allow" }.into(),
            allowed: !denied,
            policy_version: "v1".into(),
            reasons: if denied { vec!["=no, \"really\"".into()] } else { Vec::new() },
        },
        request_source_id: None,
        retry_attempt: None,
        routing_decision: None,
        sealed_content: None,
        secrets_accessed: Vec::new(),
        session_budget: None,
        session_id: number.is_multiple_of(5).then(|| "s-5".into()),
        status: if denied { "denied" } else { "completed" }.into(),
        team: None,
        tenant_id: tenant.to_owned().into(),
        timestamp: NOW.plus_ms(i64::from(number) * 1_000 - 3_600_000),
        upstream_auth_mode: None,
        upstream_key_fingerprint: None,
        upstream_key_source: None,
    }
}

fn key_settings() -> Arc<KeySettings> {
    let seconds = Duration::from_secs;
    Arc::new(KeySettings {
        prefixes: KeyPrefixes {
            current: "ory_ak".to_owned(),
            retired: Vec::new(),
            public_current: None,
            public_retired: Vec::new(),
        },
        issuer: "https://issuer.example".to_owned(),
        issuers_retired: Vec::new(),
        clock_skew: seconds(300),
        default_ttl: None,
        max_ttl: seconds(86_400),
        derived: DerivedSettings {
            default_ttl: seconds(3_600),
            macaroon_prefix: "mc".to_owned(),
            macaroon_prefixes_retired: Vec::new(),
            signing_key_id: None,
            signing_keys: Vec::new(),
        },
        hmac: HmacSecret::Derived(TenantSecrets::new(&[2; 32])),
        hmac_retired: Vec::new(),
        pagination: None,
        pagination_retired: Vec::new(),
        cache: CacheSettings { kind: CacheKind::None, enabled: false, ttl: seconds(300) },
        rate_limit_enabled: false,
        api_keys_max: None,
        imported_hash: HashVersion::default(),
    })
}

pub(crate) fn tenant(id: &str, nid: Nid, zone: &str, caps: Caps) -> Arc<Tenant> {
    Arc::new(Tenant {
        id: TenantId::parse(id).unwrap(),
        nid,
        clock: Arc::new(ZoneClock::new(TimeZone::get(zone).unwrap(), NOW)),
        meter: crate::metrics::Metrics::new().tenant(&TenantId::parse(id).unwrap()),
        rates: Vec::new(),
        durability: None,
        active: true,
        caps,
        keys: key_settings(),
        limits: Limits::default(),
        features: Features::default(),
        allowed_ips: Vec::new(),
        origin: Origin::File,
        plan: None,
    })
}

pub(crate) fn caller(name: &str, tenant: &Arc<Tenant>, caps: Caps) -> Arc<Caller> {
    Arc::new(Caller {
        name: name.to_owned(),
        tenant: Arc::clone(tenant),
        team: None,
        rate: None,
        caps,
        budgets: Vec::new(),
        capped_by_choice: caps != Caps::default(),
        allowed_models: Vec::new(),
        blocked_models: Vec::new(),
        allowed_providers: Vec::new(),
        accept_client_metadata: true,
        source: CallerSource::Config,
        key: None,
    })
}

fn presets() -> Presets {
    let metrics = crate::metrics::Metrics::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let holder = Holder(uuid::Uuid::nil());
    let budgets = BudgetKeeper::new(Arc::new(FakeStore::default()), clock, holder);
    Presets {
        plans: BTreeMap::new(),
        defaults: Plan::default(),
        clock: Arc::new(ZoneClock::new(TimeZone::get("UTC").unwrap(), NOW)),
        keys: key_settings(),
        overlaid: std::collections::HashMap::new(),
        limited: true,
        accounts: Accounts { budgets, rates: Arc::default(), shared: None },
        metrics,
    }
}

/// acme has no caps of its own and agents `a` (capped) and `b`; globex, in Auckland, has caps and agent `g`.
pub(crate) fn snapshot() -> Snapshot {
    let cap =
        |daily, monthly| Caps { daily: Some(NanoUsd(daily)), monthly: Some(NanoUsd(monthly)), session: None };
    let acme = tenant("acme", ACME, "UTC", Caps::default());
    let globex = tenant("globex", GLOBEX, "Pacific/Auckland", cap(9_000_000_000, 90_000_000_000));
    let hasher = KeyHasher::new(&[1; 32]);
    let mut keyring = Keyring::default();
    let callers = [
        caller("a", &acme, cap(1_000_000_000, 10_000_000_000)),
        caller("b", &acme, Caps::default()),
        caller("g", &globex, Caps::default()),
    ];
    for caller in callers {
        let digest = hasher.digest(format!("key-{}", caller.name).as_bytes());
        keyring.add_caller(digest, caller);
    }
    let tenants_by_nid = [&acme, &globex].map(|tenant| (tenant.nid, Arc::clone(tenant))).into();
    let tenants = [acme, globex].into_iter().map(|tenant| (tenant.id.clone(), tenant)).collect();
    Snapshot {
        open_key_admin: false,
        client_ip_source: Default::default(),
        generation: 1,
        hasher,
        version: "sha256:77aa".to_owned(),
        organization_clock: None,
        keyring,
        caller_policy: CallerPolicy::default(),
        made: MadeTenants::new(Arc::default(), presets()),
        tenants,
        tenants_by_nid,
        hosts: None,
        trust_forwarded_host: false,
        degraded: BTreeMap::new(),
        providers: HashMap::new(),
        models: HashMap::new(),
        prices: PriceTable::default(),
        currency: "USD".to_owned(),
        billing: crate::snapshot::Billing::default(),
        global_rate: None,
        evidence: EvidencePolicy {
            durability: Durability::Strict,
            routes: Vec::new(),
            on_failure: OnFailure::Refuse,
            store_prompts: false,
            store_answers: false,
        },
        quickstart: None,
        tenant_header: HeaderName::from_static("x-tenant-id"),
        api_key_header: None,
        trusted_proxies: Vec::new(),
        default_output_tokens: 1,
        remote_input_tokens: 1,
        body_bytes_max: 1,
        body_idle_timeout: Duration::from_secs(1),
        webhooks: Default::default(),
        mcp: McpSettings { timeout: Duration::from_secs(1), private_network: false },
    }
}
