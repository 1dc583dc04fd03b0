//! Providers, as requests use them.

use std::time::Duration;

use bh_app::snapshot::{Candidate, Provider, Retry, Timeouts, UnmeteredPaths, UpstreamAuth};
use bh_config::schema::{self, ApiFamily, ResponsesStoreMode, UpstreamAuthMode};
use bh_wire::Family;
use bh_wire::edit::StoreMode;
use bh_wire::headers::ProviderAuth;
use secrecy::SecretString;

use super::CompileFault;

/// A provider with everything its configuration leaves to defaults.
pub(super) fn provider(
    gateway: &schema::Gateway,
    id: &str,
    configured: &schema::Provider,
) -> Result<Provider, CompileFault> {
    let base_url = configured.base_url(id).ok_or_else(|| CompileFault::NoBaseUrl(id.to_owned()))?;
    let base_url = base_url.trim_end_matches('/').to_owned();
    let (family, credential_style) = match configured.family(id) {
        ApiFamily::Openai | ApiFamily::Ollama => (Family::OpenAi, ProviderAuth::Bearer),
        ApiFamily::AzureOpenai => (Family::OpenAi, ProviderAuth::ApiKey),
        ApiFamily::Anthropic => (Family::Anthropic, ProviderAuth::XApiKey),
    };
    let private = configured.allow_private_network.unwrap_or_else(|| names_private_host(&base_url));
    Ok(Provider {
        id: id.to_owned(),
        family,
        credential_style,
        base_url,
        api_key: configured.api_key.as_ref().map(|key| SecretString::from(key.expose().to_owned())),
        secret_name: configured.secret_name.clone(),
        auth: match configured.upstream_auth_mode {
            UpstreamAuthMode::ClientBearer => return Err(CompileFault::ClientBearer(id.to_owned())),
            UpstreamAuthMode::Secret | UpstreamAuthMode::None => UpstreamAuth::Secret,
        },
        region: configured.region.clone(),
        api_version: configured.api_version.clone(),
        allowed_models: configured.allowed_models.clone(),
        blocked_models: configured.blocked_models.clone(),
        fallback: configured
            .fallback
            .iter()
            .map(|next| Candidate { provider: next.provider.clone(), model: next.model.clone() })
            .collect(),
        store_mode: match configured.responses_store_mode {
            ResponsesStoreMode::Preserve => StoreMode::Preserve,
            ResponsesStoreMode::ForceIfAbsent => StoreMode::ForceIfAbsent,
            ResponsesStoreMode::ForceTrue => StoreMode::ForceTrue,
        },
        inject_stream_usage: configured.inject_stream_usage,
        unmetered_paths: match configured.unmetered_paths {
            schema::UnmeteredPaths::Refuse => UnmeteredPaths::Refuse,
            schema::UnmeteredPaths::Allow => UnmeteredPaths::Allow,
        },
        retry: retry(gateway, configured),
        timeouts: timeouts(gateway, configured),
        private_network: private,
    })
}

/// A base URL that names a loopback or private address, or `localhost`, was meant to be reached.
fn names_private_host(base_url: &str) -> bool {
    let Ok(uri) = base_url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.ends_with(".localhost") || !host.contains('.');
    host.parse::<std::net::IpAddr>().is_ok() || local
}

fn retry(gateway: &schema::Gateway, configured: &schema::Provider) -> Retry {
    let organization = gateway.organization_policy.as_ref().and_then(|policy| policy.defaults.retry.as_ref());
    let rule = configured.retry.as_ref().or(organization);
    rule.map_or(Retry { attempts: 0, initial: Duration::ZERO, max: Duration::ZERO }, |rule| Retry {
        attempts: u32::from(rule.max_attempts),
        initial: rule.initial_backoff.0,
        max: rule.max_backoff.0,
    })
}

fn timeouts(gateway: &schema::Gateway, configured: &schema::Provider) -> Timeouts {
    let (base, own) = (&gateway.timeouts, &configured.timeouts);
    let request = own.request_timeout.as_ref().unwrap_or(&base.request_timeout);
    let header = own.response_header_timeout.as_ref().or(base.response_header_timeout.as_ref());
    Timeouts {
        connect: own.connect_timeout.as_ref().unwrap_or(&base.connect_timeout).0,
        header: header.unwrap_or(request).0,
        request: request.0,
        idle: own.stream_idle_timeout.as_ref().unwrap_or(&base.stream_idle_timeout).0,
    }
}
