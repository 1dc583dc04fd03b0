//! `serve --proxy-quickstart`: bring your own provider key, on your own machine (seed 002, Talon dossier §3.6).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bh_app::snapshot::{
    Caller, CallerSource, Capped, Caps, Limited, Provider, Retry, Tenant, Timeouts, UnmeteredPaths,
    UpstreamAuth,
};
use bh_config::schema::Quickstart;
use bh_domain::money::NanoUsd;
use bh_wire::Family;
use bh_wire::edit::StoreMode;
use bh_wire::headers::ProviderAuth;
use secrecy::SecretString;

pub(crate) const TENANT: &str = "quickstart";
pub(crate) const CALLER: &str = "quickstart-local";
pub(crate) const CALLER_REQUESTS_PER_MINUTE: u32 = 300;
pub(crate) const GLOBAL_REQUESTS_PER_MINUTE: u32 = 600;
const MODELS: [&str; 2] = ["gpt-4o-mini", "gpt-4o"];
const DAILY_CAP: NanoUsd = NanoUsd(50_000_000_000);
const MONTHLY_CAP: NanoUsd = NanoUsd(500_000_000_000);
const OPENAI: &str = "https://api.openai.com";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    header: Duration::from_secs(120),
    request: Duration::from_secs(120),
    idle: Duration::from_secs(60),
};

/// The quickstart may not be served to anybody but this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "--proxy-quickstart serves loopback addresses only, and `{0}` is none; --unsafe-listen lifts this at your risk"
)]
pub(crate) struct NotLoopback(pub(crate) String);

/// Whether a host to listen on is this machine alone.
pub(crate) fn loopback(host: &str) -> Result<(), NotLoopback> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let local = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local { Ok(()) } else { Err(NotLoopback(host.to_owned())) }
}

pub(crate) fn caps() -> Caps {
    Caps { daily: Some(DAILY_CAP), monthly: Some(MONTHLY_CAP), session: None }
}

pub(crate) fn caller(
    settings: &Quickstart,
    tenant: &Arc<Tenant>,
    rate: Option<Limited>,
    budgets: Vec<Capped>,
) -> Caller {
    let models = if settings.allow_all_models { Vec::new() } else { MODELS.map(str::to_owned).to_vec() };
    Caller {
        name: CALLER.to_owned(),
        tenant: Arc::clone(tenant),
        team: None,
        rate,
        caps: caps(),
        budgets,
        capped_by_choice: true,
        allowed_models: models,
        blocked_models: Vec::new(),
        allowed_providers: Vec::new(),
        accept_client_metadata: true,
        source: CallerSource::Quickstart,
        key: None,
    }
}

pub(crate) fn provider(settings: &Quickstart) -> Provider {
    let base_url = settings.openai_base_url.as_ref().map_or_else(|| OPENAI.to_owned(), ToString::to_string);
    Provider {
        id: "openai".to_owned(),
        family: Family::OpenAi,
        credential_style: ProviderAuth::Bearer,
        base_url: base_url.trim_end_matches('/').to_owned(),
        api_key: settings.api_key.as_ref().map(|key| SecretString::from(key.expose().to_owned())),
        secret_name: None,
        auth: UpstreamAuth::ClientBearer,
        region: Some("US".to_owned()),
        api_version: None,
        allowed_models: Vec::new(),
        blocked_models: Vec::new(),
        fallback: Vec::new(),
        store_mode: StoreMode::ForceIfAbsent,
        inject_stream_usage: true,
        unmetered_paths: UnmeteredPaths::Refuse,
        retry: Retry { attempts: 0, initial: Duration::ZERO, max: Duration::ZERO },
        timeouts: TIMEOUTS,
        // The operator chose the address on their own machine.
        private_network: true,
    }
}
