//! `/v1/secrets`: which provider credentials the gateway holds. Never their values.

use axum::response::Response;
use bh_domain::refusal::Refusal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ask::Ask;
use crate::openapi::{Chapter, Operation, Schemas};
use crate::respond;

/// A secret, without its value.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HeldSecret")]
struct Held {
    name: String,
    /// Where it comes from.
    source: &'static str,
    /// Which providers use it.
    used_by: [String; 1],
}

/// The secrets in use.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HeldSecrets")]
struct Secrets {
    secrets: Vec<Held>,
}

/// What this door says of itself.
pub(crate) fn chapter() -> Chapter {
    let list =
        Operation::get("/v1/secrets", "listSecrets", "List provider credentials in use, without values")
            .tells("200", "Their names, and who uses them.", Schemas::told::<Secrets>);
    Chapter::new("Secrets", "Which provider credentials the gateway holds.", vec![list])
}

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
        .map(|(name, provider)| Held { name, source: "configuration", used_by: [provider] })
        .collect();
    respond::json(&Secrets { secrets })
}
