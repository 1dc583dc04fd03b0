//! What is different at Azure OpenAI: the model is a deployment, and the deployment is part of the path.

use bh_domain::refusal::{Code, Refusal};
use bh_wire::family::Endpoint;
use bh_wire::headers::ProviderAuth;

use super::target::native_path;
use crate::snapshot::Provider;

/// Whether a provider is one.
pub(super) fn is(provider: &Provider) -> bool {
    provider.credential_style == ProviderAuth::ApiKey
}

/// Where a deployment answers.
pub(super) fn path(endpoint: Endpoint, deployment: &str) -> Result<String, Refusal> {
    plain_deployment(deployment)?;
    Ok(format!("/openai/deployments/{deployment}{}", native_path(endpoint).trim_start_matches("/v1")))
}

/// A deployment is part of a path: nothing in it may read as path or query, or in two ways.
pub(super) fn plain_deployment(name: &str) -> Result<(), Refusal> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain && !matches!(name, "" | "." | "..") {
        return Ok(());
    }
    Err(Refusal::new(Code::ModelNotFound, format!("`{name}` cannot be the name of an Azure deployment")))
}
