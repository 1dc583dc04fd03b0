//! The settings of the API-key server that a tenant may have of its own (Talos dossier §7.5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Cache, Credentials, Quota, RateLimit, Rotation};

/// One tenant's settings of the API-key server: those of the configuration, under what its overlay says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantKeys {
    /// Its own settings, free in form.
    pub talos: Option<Map<String, Value>>,
    /// Its secrets.
    pub secrets: TenantSecrets,
    /// Issued keys and derived tokens.
    pub credentials: Option<Credentials>,
    /// Where and how long its verifications are cached.
    pub cache: Option<Cache>,
    /// Whether rate limits of its keys hold.
    pub rate_limit: Option<RateLimit>,
    /// How many keys it may keep.
    pub quota: Option<Quota>,
}

/// The secrets that a tenant may have of its own; the others are the installation's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSecrets {
    /// Keys that issued API keys are hashed with.
    pub hmac: Option<Rotation>,
    /// Keys that seal page tokens.
    pub pagination: Option<Rotation>,
    /// Keys for any use that has none of its own.
    pub default: Option<Rotation>,
}
