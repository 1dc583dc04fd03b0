//! The settings of the API-key server, as far as no single one can tell: what could only fail at a tenant's first
//! request is refused when it is loaded.

use bh_domain::keys::format::Prefix;
use bh_domain::keys::token::{Jwks, JwksError};

use crate::check::Finding;
use crate::path::Path;
use crate::schema::{
    Cache, CacheRedis, Config, Credentials, KEY_PREFIX_DEFAULT, MACAROON_PREFIX_DEFAULT, TenantKeys,
};
use crate::yaml::node::Node;

/// The largest `credentials.clock_skew` (Talos dossier §8.2).
const CLOCK_SKEW_MAX_S: u64 = 600;

const ISSUED: &str = "credentials.api_keys.prefix";
const MACAROON: &str = "credentials.derived_tokens.macaroon.prefix";
const JWT: &str = "credentials.derived_tokens.jwt";

/// The settings that are checked, of the configuration or of a tenant.
pub(crate) struct KeyParts<'c> {
    credentials: Option<&'c Credentials>,
    cache: Option<&'c Cache>,
}

impl<'c> From<&'c Config> for KeyParts<'c> {
    fn from(config: &'c Config) -> Self {
        Self { credentials: config.credentials.as_ref(), cache: config.cache.as_ref() }
    }
}

impl<'c> From<&'c TenantKeys> for KeyParts<'c> {
    fn from(keys: &'c TenantKeys) -> Self {
        Self { credentials: keys.credentials.as_ref(), cache: keys.cache.as_ref() }
    }
}

/// Everything wrong between them. `tree` says where they are written: for a tenant, its overlay.
pub(crate) fn keys<'c>(parts: impl Into<KeyParts<'c>>, tree: &Node) -> Vec<Finding> {
    let parts = parts.into();
    let mut check = Check { tree, findings: Vec::new() };
    check.cache(parts.cache);
    if let Some(credentials) = parts.credentials {
        check.lifetimes(credentials);
        check.prefixes(credentials);
        check.key_set(credentials);
    }
    check.findings
}

struct Check<'t> {
    tree: &'t Node,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn say(&mut self, path: String, message: impl Into<String>) {
        let origin = self.tree.origin_near(&Path::parse(&path).unwrap_or_default());
        self.findings.push(Finding::new(origin, path, message.into()));
    }

    fn cache(&mut self, cache: Option<&Cache>) {
        let Some(addrs) = cache.and_then(|cache| cache.redis.as_ref()?.addrs.as_ref()) else { return };
        if addrs.len() > 1 {
            let message = "one server: name a single address, which may be that of a proxy before several";
            self.say("cache.redis.addrs".to_owned(), message);
        }
        for (index, address) in addrs.iter().enumerate() {
            if CacheRedis::host_and_port(address).is_none() {
                let message = "expected HOST:PORT such as redis.internal:6379";
                self.say(format!("cache.redis.addrs[{index}]"), message);
            }
        }
    }

    fn lifetimes(&mut self, credentials: &Credentials) {
        if credentials.clock_skew.as_ref().is_some_and(|skew| skew.0.as_secs() > CLOCK_SKEW_MAX_S) {
            self.say("credentials.clock_skew".to_owned(), "at most 10m");
        }
        let keys = &credentials.api_keys;
        if let (Some(default), Some(max)) = (&keys.default_ttl, &keys.max_ttl)
            && default.0 > max.0
        {
            let message =
                "longer than `credentials.api_keys.max_ttl`: no key could be issued without a `ttl`";
            self.say("credentials.api_keys.default_ttl".to_owned(), message);
        }
    }

    /// A key whose prefix a macaroon's shadows would never be looked for among the keys.
    fn prefixes(&mut self, credentials: &Credentials) {
        let macaroons = self.macaroons(credentials);
        for (path, text) in issued(credentials) {
            let Ok(prefix) = Prefix::issued(text) else { continue };
            let shadow = macaroons.iter().find(|(_, macaroon)| prefix.is_shadowed_by(macaroon));
            if let Some((other, macaroon)) = shadow {
                let message = |of: &str| {
                    format!(
                        "a key that starts with `{prefix}_v1_` is taken for a macaroon with the prefix `{macaroon}` ({of})"
                    )
                };
                if self.tree.at(&Path::parse(&path).unwrap_or_default()).is_some() {
                    let message = message(other);
                    self.say(path, message);
                } else {
                    let message = message("this one");
                    self.say(other.clone(), message);
                }
            }
        }
    }

    fn macaroons(&mut self, credentials: &Credentials) -> Vec<(String, Prefix)> {
        let prefix = &credentials.derived_tokens.macaroon.prefix;
        let current = prefix.current.as_deref().unwrap_or(MACAROON_PREFIX_DEFAULT);
        let mut texts = vec![(format!("{MACAROON}.current"), current)];
        let retired = prefix.retired.iter().enumerate();
        texts.extend(retired.map(|(index, text)| (format!("{MACAROON}.retired[{index}]"), text.as_str())));
        let mut sound = Vec::new();
        for (path, text) in texts {
            match Prefix::macaroon(text) {
                Ok(prefix) => sound.push((path, prefix)),
                Err(_) => self.say(path, "expected 1 to 8 letters, digits and underscores"),
            }
        }
        sound
    }

    fn key_set(&mut self, credentials: &Credentials) {
        let jwt = &credentials.derived_tokens.jwt;
        let sources: Vec<&str> = jwt.signing_keys.urls.iter().map(|url| url.expose()).collect();
        if sources.is_empty() {
            return;
        }
        let id = jwt.signing_key_id.as_deref().filter(|id| !id.is_empty());
        match Jwks::from_sources(&sources, id) {
            Ok(set) if set.keys().is_empty() => {
                self.say(format!("{JWT}.signing_keys.urls"), "holds no Ed25519 and no RSA key");
            }
            Ok(_) => {}
            Err(JwksError::Source { url, problem }) => {
                self.say(format!("{JWT}.signing_keys.urls[{url}]"), problem.to_string());
            }
            Err(JwksError::Key { url, key, problem }) => {
                let message = format!("keys[{key}] of the set: {problem}");
                self.say(format!("{JWT}.signing_keys.urls[{url}]"), message);
            }
            Err(fault @ JwksError::TooManyKeys) => {
                self.say(format!("{JWT}.signing_keys.urls"), fault.to_string())
            }
            Err(JwksError::UnknownSigningKey(id)) => {
                let message = format!("there is no private key with the id `{id}` in `signing_keys`");
                self.say(format!("{JWT}.signing_key_id"), message);
            }
        }
    }
}

/// Every prefix that a key may have, with its path.
fn issued(credentials: &Credentials) -> Vec<(String, &str)> {
    let prefix = &credentials.api_keys.prefix;
    let current = prefix.current.as_ref().map_or(KEY_PREFIX_DEFAULT, |prefix| prefix.0.as_str());
    let mut texts = vec![(format!("{ISSUED}.current"), current)];
    texts.extend(prefix.public_current.iter().map(|p| (format!("{ISSUED}.public_current"), p.0.as_str())));
    for (name, retired) in [("retired", &prefix.retired), ("public_retired", &prefix.public_retired)] {
        let retired = retired.iter().enumerate();
        texts.extend(retired.map(|(index, p)| (format!("{ISSUED}.{name}[{index}]"), p.0.as_str())));
    }
    texts
}
