//! Webhook endpoints from the configuration.

use std::sync::Arc;
use std::time::Duration;

use bh_app::snapshot::{WebhookEndpoint, WebhookSettings};
use bh_config::schema;
use bh_domain::webhook::{Backoff, EventPattern, SigningSecret};

use super::CompileFault;

pub(super) fn compile(webhooks: &schema::Webhooks) -> Result<Arc<WebhookSettings>, CompileFault> {
    let endpoints = webhooks.endpoints.iter().map(|configured| endpoint(configured).map(Arc::new));
    Ok(Arc::new(WebhookSettings {
        endpoints: endpoints.collect::<Result<_, _>>()?,
        attempts_max: webhooks.attempts_max,
        timeout: Duration::from_millis(webhooks.timeout_ms),
        backoff: Backoff { first: webhooks.first_retry.0 },
        concurrency: usize::try_from(webhooks.concurrency).unwrap_or(usize::MAX),
        retention_days: webhooks.retention_days,
        billing_close_delay: webhooks.billing_close_delay.0,
    }))
}

fn endpoint(configured: &schema::WebhookEndpoint) -> Result<WebhookEndpoint, CompileFault> {
    let wrong = |what: String| CompileFault::Invalid(format!("webhook endpoint `{}`: {what}", configured.id));
    let secrets = configured.secret.iter().chain(&configured.previous_secrets);
    let secrets = secrets.map(|secret| SigningSecret::parse(secret.expose()));
    let patterns = configured.events.iter().map(|word| EventPattern::parse(word).ok_or(word));
    Ok(WebhookEndpoint {
        id: configured.id.clone(),
        uri: configured.url.0.parse().map_err(|_| wrong("its url is none".to_owned()))?,
        secrets: secrets.collect::<Result<_, _>>().map_err(|error| wrong(format!("a secret {error}")))?,
        events: patterns.collect::<Result<_, _>>().map_err(|word| wrong(format!("`{word}` is no event")))?,
        event_words: configured.events.clone(),
        tenants: configured.tenants.iter().map(|tenant| tenant.0.clone()).collect(),
        private_network: configured.allow_private_network,
    })
}
