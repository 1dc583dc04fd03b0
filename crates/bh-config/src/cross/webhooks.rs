//! Webhook endpoints: named once, with a secret that signs and events that exist.

use std::collections::HashMap;

use bh_domain::webhook::{EventPattern, SigningSecret};

use super::Cross;
use crate::problem::nearest;
use crate::schema::WebhookEndpoint;
use crate::secret::Secret;

/// Each costs a question to the store now and then.
const ENDPOINTS_MAX: usize = 64;
const ID_BYTES_MAX: usize = 63;

impl<'c> Cross<'c> {
    pub(super) fn webhooks(&mut self) {
        let config = self.config;
        let endpoints = &config.webhooks.endpoints;
        if endpoints.len() > ENDPOINTS_MAX {
            self.say(
                "webhooks.endpoints",
                format!("at most {ENDPOINTS_MAX} endpoints, found {}", endpoints.len()),
            );
        }
        if config.webhooks.first_retry.0.is_zero() {
            self.say("webhooks.first_retry", "must be longer than 0s");
        }
        let mut ids: HashMap<&str, usize> = HashMap::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let path = format!("webhooks.endpoints[{index}]");
            if let Some(first) = ids.insert(&endpoint.id, index) {
                let message = format!("the id `{}` is taken by webhooks.endpoints[{first}]", endpoint.id);
                self.say(&format!("{path}.id"), message);
            }
            self.endpoint(&path, endpoint);
        }
    }

    fn endpoint(&mut self, path: &str, endpoint: &WebhookEndpoint) {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if endpoint.id.is_empty() || endpoint.id.len() > ID_BYTES_MAX || !endpoint.id.bytes().all(known) {
            let message = format!("an id is 1 to {ID_BYTES_MAX} lower-case letters, digits, `-` and `_`");
            self.say(&format!("{path}.id"), message);
        }
        match &endpoint.secret {
            Some(secret) => self.signing_secret(format!("{path}.secret"), secret),
            None => self.say(path, "needs `secret` or `secret_file`"),
        }
        for (at, secret) in endpoint.previous_secrets.iter().enumerate() {
            self.signing_secret(format!("{path}.previous_secrets[{at}]"), secret);
        }
        for (at, pattern) in endpoint.events.iter().enumerate() {
            if EventPattern::parse(pattern).is_none() {
                let message = format!("`{pattern}` is no event; expected a kind, `family.*` or `*`");
                self.suggest(
                    &format!("{path}.events[{at}]"),
                    message,
                    nearest(pattern, EventPattern::known()),
                );
            }
        }
    }

    fn signing_secret(&mut self, path: String, secret: &Secret) {
        if let Err(error) = SigningSecret::parse(secret.expose()) {
            self.say(&path, error.to_string());
        }
    }
}
