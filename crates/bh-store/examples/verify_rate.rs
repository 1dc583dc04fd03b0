//! How long one verification takes inside the process, without HTTP.
//!
//! `cargo run --release -p bh-store --example verify_rate -- [CALLS]`: one line per kind of credential, on one thread.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bh_app::audit::AuditTrail;
use bh_app::budgets::ZoneClock;
use bh_app::keys::{
    Asker, Attributes, Derivation, Freshness, Issue, KeyParts, KeyStory, Needs, Question, TokenForm,
    TokenSeeds,
};
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, SystemClock, SystemEntropy, TenantRow, TenantStore as _};
use bh_app::snapshot::{
    CacheKind, CacheSettings, Caps, DerivedSettings, HmacSecret, KeyPrefixes, KeySettings, Origin, Tenant,
    TenantSecrets,
};
use bh_app::webhooks::Outbox;
use bh_domain::budget::TimeZone;
use bh_domain::keys::imported::{HashVersion, ImportHasher};
use bh_domain::tenant::profile::{Features, Limits};
use bh_domain::tenant::{Nid, TenantId};
use bh_store::{Options, open};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;
/// JWTs that are shown once each.
const NEW_JWTS: usize = 2_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn main() -> Result<(), Failure> {
    let calls = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(measure(calls))
}

async fn measure(calls: usize) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let store = open(&dir.path().join("keys.db").display().to_string(), Options::default()).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let nid = Nid(Uuid::from_u128(7));
    let id = TenantId::parse("acme")?;
    let metrics = Metrics::new();
    store.ensure_tenants(vec![TenantRow { id: id.clone(), nid }]).await?;
    let tenant = Arc::new(Tenant {
        nid,
        clock: Arc::new(ZoneClock::new(TimeZone::get("UTC")?, clock.now())),
        meter: metrics.tenant(&id),
        id,
        rates: Vec::new(),
        durability: None,
        active: true,
        caps: Caps::default(),
        keys: settings(),
        limits: Limits::default(),
        features: Features::default(),
        allowed_ips: Vec::new(),
        origin: Origin::File,
        plan: None,
    });
    let keys = KeyStory::new(KeyParts {
        store: Arc::new(store.clone()),
        owners: Arc::new(store.clone()),
        identities: Arc::new(store.clone()),
        trail: AuditTrail::new(Arc::new(store.clone()), Arc::clone(&clock), Arc::clone(&metrics)),
        clock,
        entropy: Arc::new(SystemEntropy),
        hasher: ImportHasher::new(&[1; 32]),
        seeds: TokenSeeds::new(&[2; 32]),
        outbox: Outbox::silent(),
        metrics,
    });
    let (reads, changes) = (keys.clone(), keys.clone());
    tokio::spawn(async move { reads.run_reads().await });
    tokio::spawn(async move { changes.follow_changes().await });
    keys.ready_within(HOUR).await;
    println!("credential         p50 ns    p99 ns");
    for (name, shown) in credentials(&keys, &tenant).await? {
        // Those of which there are many are shown once each: what a proven signature saves is not saved there.
        let calls = if shown.len() > 1 { shown.len() } else { calls };
        time(&keys, &tenant, name, &shown, calls).await;
    }
    Ok(())
}

/// A good key, the same with another checksum, and its tokens.
async fn credentials(
    keys: &KeyStory,
    tenant: &Arc<Tenant>,
) -> Result<Vec<(&'static str, Vec<String>)>, Failure> {
    let asker =
        Asker { tenant: Arc::clone(tenant), actor: "bench".to_owned(), role: "open", origin: Arc::default() };
    let issued = keys.issue(&asker, Issue { attributes: Attributes::default(), ttl: None }).await;
    let issued = issued.map_err(|refusal| refusal.message)?;
    let key = issued.secret.ok_or("a new key has a text")?;
    let text = key.expose_secret();
    let junk = format!("{}1111", text.get(..text.len() - 4).unwrap_or_default());
    let mut all = vec![("warm key", vec![text.to_owned()]), ("wrong checksum", vec![junk])];
    for (name, form, count) in [
        ("new JWT", TokenForm::Jwt, NEW_JWTS),
        ("JWT again", TokenForm::Jwt, 1),
        ("macaroon", TokenForm::Macaroon, 1),
    ] {
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            tokens.push(derived(keys, &asker, &key, form).await?);
        }
        all.push((name, tokens));
    }
    Ok(all)
}

async fn derived(
    keys: &KeyStory,
    asker: &Asker,
    key: &SecretString,
    form: TokenForm,
) -> Result<String, Failure> {
    let derivation = Derivation {
        credential: key.clone(),
        form,
        ttl: None,
        scopes: None,
        custom: serde_json::Map::new(),
        audiences: Vec::new(),
        address: IpAddr::from([127, 0, 0, 1]),
    };
    let derived = keys.derive(asker, derivation).await.map_err(|refusal| refusal.message)?;
    Ok(derived.token.expose_secret().to_owned())
}

async fn time(keys: &KeyStory, tenant: &Tenant, name: &str, shown: &[String], calls: usize) {
    let mut times = Vec::with_capacity(calls);
    for credential in shown.iter().cycle().take(calls) {
        let question = Question {
            credential,
            audiences: &[],
            freshness: Freshness::Cached,
            address: None,
            counted: true,
            needs: Needs::default(),
        };
        let begun = Instant::now();
        std::hint::black_box(keys.verify(tenant, question).await);
        times.push(begun.elapsed().as_nanos());
    }
    times.sort_unstable();
    let of = |part: usize| times.get(calls * part / 100).copied().unwrap_or_default();
    println!("{name:<15}  {:>8}  {:>8}", of(50), of(99));
}

fn settings() -> Arc<KeySettings> {
    Arc::new(KeySettings {
        prefixes: KeyPrefixes {
            current: "ory_ak".to_owned(),
            retired: Vec::new(),
            public_current: None,
            public_retired: Vec::new(),
        },
        issuer: "http://localhost/ory/talos".to_owned(),
        issuers_retired: Vec::new(),
        clock_skew: Duration::from_secs(300),
        default_ttl: None,
        max_ttl: 8_760 * HOUR,
        derived: DerivedSettings {
            default_ttl: HOUR,
            macaroon_prefix: "mc".to_owned(),
            macaroon_prefixes_retired: Vec::new(),
            signing_key_id: None,
            signing_keys: Vec::new(),
        },
        hmac: HmacSecret::Derived(TenantSecrets::new(&[2; 32])),
        hmac_retired: Vec::new(),
        pagination: None,
        pagination_retired: Vec::new(),
        cache: CacheSettings { kind: CacheKind::Memory, enabled: true, ttl: HOUR },
        rate_limit_enabled: true,
        api_keys_max: None,
        imported_hash: HashVersion::V3,
    })
}
