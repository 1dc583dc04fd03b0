//! What no single setting can tell: names and keys used twice, references to things that don't exist, contradictions.

mod billing;
mod hosts;
mod keys;
mod webhooks;

use std::collections::HashMap;

use crate::check::Finding;
use crate::path::Path;
use crate::problem::nearest;
use crate::schema::{
    AdminAuth, ApiFamily, Caller, Candidate, ClientIpSource, Config, Gateway, IdentifyBy, Retry,
};
use crate::yaml::node::Node;

pub(crate) use keys::keys;

/// The longest pause between two attempts (Talon dossier §4.6).
const BACKOFF_MAX_S: u64 = 30;
/// The longest name of a caller or a model.
const NAME_BYTES_MAX: usize = 256;

/// Everything wrong between settings.
pub(crate) fn check(config: &Config, tree: &Node) -> Vec<Finding> {
    let mut cross = Cross { config, tree, findings: Vec::new() };
    cross.server();
    cross.keys();
    cross.tenants();
    cross.networks();
    cross.owners();
    cross.billing();
    cross.webhooks();
    if let Some(gateway) = &config.gateway {
        cross.callers(gateway);
        cross.providers(gateway);
        cross.models(gateway);
    }
    cross.findings
}

/// What is allowed but probably not meant.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.server.admin_auth == AdminAuth::None && !config.server.listen.0.ip().is_loopback() {
        warnings.push(
            "server.admin_auth is `none` and server.listen is not loopback: anyone can administer".to_owned(),
        );
    }
    let source = config.serve.as_ref().and_then(|serve| serve.http.client_ip_source);
    let reads_a_header =
        source.is_some_and(|s| !matches!(s, ClientIpSource::Unspecified | ClientIpSource::RemoteAddr));
    let gateway_trusts =
        config.gateway.as_ref().is_some_and(|gateway| !gateway.trusted_proxy_cidrs.is_empty());
    if reads_a_header && config.server.trusted_proxy_cidrs.is_empty() && !gateway_trusts {
        warnings.push(
            "serve.http.client_ip_source names a header, and server.trusted_proxy_cidrs no proxy: no address in a header is believed"
                .to_owned(),
        );
    }
    if let Some(gateway) = config.gateway.as_ref().filter(|gateway| !gateway.default_policy.require_caller_id)
    {
        let count = gateway.callers.len();
        warnings.push(format!("gateway.default_policy.require_caller_id is false: calls without a key are served ({count} callers)"));
    }
    warnings
}

struct Cross<'c> {
    config: &'c Config,
    tree: &'c Node,
    findings: Vec<Finding>,
}

impl<'c> Cross<'c> {
    fn say(&mut self, path: &str, message: impl Into<String>) {
        self.suggest(path, message, None);
    }

    fn suggest(&mut self, path: &str, message: impl Into<String>, suggestion: Option<String>) {
        let place = Path::parse(path).unwrap_or_default();
        let origin = self.tree.origin_near(&place);
        self.findings.push(Finding { origin, path: path.to_owned(), message: message.into(), suggestion });
    }

    fn server(&mut self) {
        let server = &self.config.server;
        if server.metrics_listen.as_ref() == Some(&server.listen) && server.listen.0.port() != 0 {
            self.say("server.metrics_listen", "the same address as `server.listen`");
        }
        let url = self.config.store.url.as_ref().map(|url| url.expose());
        if url.is_some_and(|url| !url.starts_with("postgres") && !url.starts_with("sqlite")) {
            self.say("store.url", "expected postgres://... or sqlite://...");
        }
        self.findings.extend(keys(self.config, self.tree));
        if self.config.evidence.checkpoint_interval.0.is_zero() {
            self.say("evidence.checkpoint_interval", "must be longer than 0s");
        }
    }

    /// One key value belongs to one holder; the value itself is never repeated.
    fn keys(&mut self) {
        let config = self.config;
        let mut holders: HashMap<&'c str, String> = HashMap::new();
        let mut names: HashMap<&'c str, usize> = HashMap::new();
        for (index, admin) in config.admin_keys.iter().enumerate() {
            if let Some(first) = names.insert(&admin.name, index) {
                let message = format!("the name `{}` is taken by admin_keys[{first}]", admin.name);
                self.say(&format!("admin_keys[{index}].name"), message);
            }
            match &admin.key {
                Some(key) => self.key(&mut holders, key.expose(), format!("admin_keys[{index}].key")),
                None => self.say(&format!("admin_keys[{index}]"), "needs `key` or `key_file`"),
            }
        }
        for (index, entry) in config.api_keys.iter().enumerate() {
            self.key(&mut holders, entry.key.expose(), format!("api_keys[{index}].key"));
        }
        let callers = config.gateway.as_ref().map(|gateway| gateway.callers.as_slice()).unwrap_or_default();
        for (index, caller) in callers.iter().enumerate() {
            let field = if caller.api_key.is_some() { "api_key" } else { "tenant_key" };
            if let Some(key) = caller.key() {
                self.key(&mut holders, key.expose(), format!("gateway.callers[{index}].{field}"));
            }
        }
    }

    fn key(&mut self, holders: &mut HashMap<&'c str, String>, key: &'c str, path: String) {
        match holders.get(key) {
            Some(first) => {
                let message = format!("the same key as {first}: every key needs its own value");
                self.say(&path, message);
            }
            None => drop(holders.insert(key, path)),
        }
    }

    fn callers(&mut self, gateway: &'c Gateway) {
        let mut names: HashMap<&str, usize> = HashMap::new();
        for (index, caller) in gateway.callers.iter().enumerate() {
            let path = format!("gateway.callers[{index}]");
            if let Some(first) = names.insert(&caller.name, index) {
                let message = format!("the name `{}` is taken by gateway.callers[{first}]", caller.name);
                self.say(&format!("{path}.name"), message);
            }
            self.recordable(&caller.name, &format!("{path}.name"));
            self.caller_identity(caller, &path);
            for (at, provider) in caller.allowed_providers.iter().enumerate() {
                self.known_provider(gateway, provider, &format!("{path}.allowed_providers[{at}]"));
            }
        }
        let organization = gateway.organization_policy.as_ref();
        let allowed =
            organization.map(|policy| policy.constraints.allowed_providers.as_slice()).unwrap_or_default();
        for (at, provider) in allowed.iter().enumerate() {
            let path = format!("gateway.organization_policy.constraints.allowed_providers[{at}]");
            self.known_provider(gateway, provider, &path);
        }
    }

    /// A name that every record of a call repeats, in a column that a store keeps an index of.
    fn recordable(&mut self, name: &str, path: &str) {
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("at most {NAME_BYTES_MAX} bytes, and no control character: it is recorded");
            self.say(path, message);
        }
    }

    fn caller_identity(&mut self, caller: &Caller, path: &str) {
        let by_address = caller.identify_by == IdentifyBy::SourceIp;
        match (&caller.api_key, &caller.tenant_key) {
            (Some(_), Some(_)) => {
                self.say(path, "`api_key` and `tenant_key` are two names of one thing: keep one")
            }
            (None, None) if !by_address => self.say(path, "needs `api_key`, or `identify_by: source_ip`"),
            (Some(_), None) | (None, Some(_) | None) => {}
        }
        if by_address && caller.source_ip_ranges.is_empty() {
            self.say(path, "`identify_by: source_ip` needs `source_ip_ranges`");
        }
    }

    fn providers(&mut self, gateway: &'c Gateway) {
        for (id, provider) in &gateway.providers {
            let mut place = Path::of_keys(&["gateway", "providers"]);
            place.key(id);
            let path = place.to_string();
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                self.say(
                    &path,
                    "a provider's id is made of letters, digits, `-` and `_`: it is part of the URL",
                );
            }
            if provider.base_url(id).is_none() {
                self.say(&path, "needs `base_url`");
            }
            for (at, candidate) in provider.fallback.iter().enumerate() {
                let path = format!("{path}.fallback[{at}]");
                self.fallback(gateway, provider.family(id), candidate, &path);
                self.recordable(candidate.model.as_deref().unwrap_or_default(), &format!("{path}.model"));
            }
            if let Some(retry) = &provider.retry {
                self.retry(retry, &format!("{path}.retry"));
            }
        }
        let defaults = gateway.organization_policy.as_ref().and_then(|policy| policy.defaults.retry.as_ref());
        if let Some(retry) = defaults {
            self.retry(retry, "gateway.organization_policy.defaults.retry");
        }
    }

    fn retry(&mut self, retry: &Retry, path: &str) {
        if retry.max_backoff.0.as_secs() > BACKOFF_MAX_S {
            self.say(&format!("{path}.max_backoff"), "at most 30s");
        }
        if retry.initial_backoff.0 > retry.max_backoff.0 {
            self.say(&format!("{path}.initial_backoff"), "longer than `max_backoff`");
        }
    }

    /// A request can only be sent elsewhere unchanged when the other side speaks the same wire.
    fn fallback(&mut self, gateway: &Gateway, family: ApiFamily, candidate: &Candidate, path: &str) {
        if !self.known_provider(gateway, &candidate.provider, &format!("{path}.provider")) {
            return;
        }
        let other = gateway.providers.get(&candidate.provider).map(|p| p.family(&candidate.provider));
        let wire = |family: ApiFamily| match family {
            ApiFamily::Openai | ApiFamily::Ollama => ApiFamily::Openai,
            ApiFamily::Anthropic | ApiFamily::AzureOpenai => family,
        };
        if other.is_some_and(|other| wire(other) != wire(family)) {
            let message =
                format!("`{}` speaks another wire; a fallback must share `api_family`", candidate.provider);
            self.say(&format!("{path}.provider"), message);
        }
    }

    fn known_provider(&mut self, gateway: &Gateway, provider: &str, path: &str) -> bool {
        let known = gateway.providers.contains_key(provider);
        if !known {
            let suggestion = nearest(provider, gateway.providers.keys().map(String::as_str));
            self.suggest(path, format!("`{provider}` is not in gateway.providers"), suggestion);
        }
        known
    }

    fn models(&mut self, gateway: &'c Gateway) {
        for (alias, target) in &self.config.models {
            let mut place = Path::of_keys(&["models"]);
            place.key(alias);
            let candidates = target.candidates();
            if candidates.is_empty() {
                self.say(&place.to_string(), "expected `provider/model`, or a list of {provider, model}");
            }
            for candidate in candidates {
                self.known_provider(gateway, &candidate.provider, &place.to_string());
                self.recordable(candidate.model.as_deref().unwrap_or_default(), &place.to_string());
            }
        }
    }
}
