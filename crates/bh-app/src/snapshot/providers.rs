//! LLM upstreams as calls see them.

use std::time::Duration;

use bh_wire::edit::StoreMode;
use bh_wire::family::Family;
use bh_wire::headers::ProviderAuth;
use secrecy::SecretString;

/// Whose credential the provider sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamAuth {
    /// The one configured for the provider.
    Secret,
    /// The caller's own bearer (quickstart).
    ClientBearer,
}

/// An LLM upstream.
#[derive(Debug)]
pub struct Provider {
    /// Id in the configuration and in `/v1/proxy/{id}`.
    pub id: String,
    /// The wire it speaks.
    pub family: Family,
    /// How its credential is sent.
    pub credential_style: ProviderAuth,
    /// `scheme://host[:port][/path]`, without a trailing slash.
    pub base_url: String,
    /// Its credential.
    pub api_key: Option<SecretString>,
    /// The name of the secret the credential came from, for evidence.
    pub secret_name: Option<String>,
    /// Whose credential is used.
    pub auth: UpstreamAuth,
    /// Jurisdiction.
    pub region: Option<String>,
    /// Added as `api-version` when the request has none (Azure).
    pub api_version: Option<String>,
    /// Models that may be asked of it; empty = all.
    pub allowed_models: Vec<String>,
    /// Models that may not.
    pub blocked_models: Vec<String>,
    /// What follows when it does not answer, in order; same family.
    pub fallback: Vec<Candidate>,
    /// What happens to `store` on the Responses wire.
    pub store_mode: StoreMode,
    /// Whether streamed chats are asked for usage.
    pub inject_stream_usage: bool,
    /// What becomes of requests that cannot be metered, where a budget or a model rule is in force.
    pub unmetered_paths: UnmeteredPaths,
    /// Retries of the same provider.
    pub retry: Retry,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Whether it may live on a loopback or private address.
    pub private_network: bool,
}

/// What becomes of a request that makes something on a path whose price is not known beforehand, where somebody set a
/// budget or a model rule for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmeteredPaths {
    /// It is refused.
    Refuse,
    /// It passes, and is priced by the usage its answer reports, if any.
    Allow,
}

/// A provider and the model asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Provider id.
    pub provider: String,
    /// Model name there; `None` = as the client asked.
    pub model: Option<String>,
}

/// Retry rule for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Retries after the first attempt, at most 5.
    pub attempts: u32,
    /// First backoff.
    pub initial: Duration,
    /// Longest backoff.
    pub max: Duration,
}

/// Time limits for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until connected.
    pub connect: Duration,
    /// Until the head of the answer.
    pub header: Duration,
    /// Whole request, retries included, until the head of the answer.
    pub request: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
}
