//! `/v1/secrets`: which provider credentials the gateway holds. Never their values.

use axum::response::Response;
use bh_domain::refusal::Refusal;
use serde_json::json;

use crate::ask::Ask;
use crate::respond;

/// The names of the secrets in use, and who uses them.
pub(crate) async fn list(ask: Ask) -> Result<Response, Refusal> {
    let mut secrets: Vec<_> = ask
        .snapshot
        .providers
        .values()
        .filter(|provider| provider.api_key.is_some())
        .map(|provider| {
            let name =
                provider.secret_name.clone().unwrap_or_else(|| format!("providers.{}.api_key", provider.id));
            (name, provider.id.clone())
        })
        .collect();
    secrets.sort();
    let secrets: Vec<_> = secrets
        .into_iter()
        .map(|(name, provider)| json!({"name": name, "source": "configuration", "used_by": [provider]}))
        .collect();
    respond::json(&json!({ "secrets": secrets }))
}
