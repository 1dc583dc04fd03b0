//! Settings of the API-key server: what is left out gets its default (Talos dossier §8.2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bh_app::snapshot::{
    CacheKind, CacheSettings, DerivedSettings, HmacSecret, KeyPrefixes, KeySettings, Retired, Snapshot,
    TenantSecrets,
};
use bh_config::schema::{
    self, CacheType, KEY_PREFIX_DEFAULT, MACAROON_PREFIX_DEFAULT, Rotated, Rotation, TenantKeys,
};
use bh_config::{GoDuration, KeyPrefix, Loaded, Overlays, Secret};
use bh_domain::keys::imported::HashVersion;
use bh_domain::tenant::{Nid, TenantId};
use secrecy::SecretString;

use super::CompileFault;

const ISSUER: &str = "http://localhost/ory/talos";
const CLOCK_SKEW: Duration = Duration::from_secs(300);
const MAX_TTL: Duration = Duration::from_secs(8_760 * 3_600);
const DERIVED_TTL: Duration = Duration::from_secs(3_600);
const CACHE_TTL: Duration = Duration::from_secs(300);

/// Gives each tenant its settings. Tenants without an overlay share those of the configuration, and tenants with the
/// same overlay share its.
pub(super) struct KeySource<'a> {
    base: Arc<KeySettings>,
    overlays: &'a Overlays,
    /// By position among the overlays' files; what is wrong with a bad one.
    own: Vec<Result<Arc<KeySettings>, Arc<str>>>,
    before: Option<&'a Snapshot>,
    degraded: BTreeMap<TenantId, Arc<str>>,
}

impl<'a> KeySource<'a> {
    pub(super) fn new(loaded: &'a Loaded, secrets: &TenantSecrets, before: Option<&'a Snapshot>) -> Self {
        let own = loaded.overlays.files().iter().map(|overlay| match &overlay.settings {
            Ok(keys) => Ok(Arc::new(settings(keys, secrets))),
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Err(problems.join("; ").into())
            }
        });
        Self {
            base: Arc::new(settings(&loaded.keys, secrets)),
            overlays: &loaded.overlays,
            own: own.collect(),
            before,
            degraded: BTreeMap::new(),
        }
    }

    /// Settings of tenants without an overlay.
    pub(super) fn base(&self) -> Arc<KeySettings> {
        Arc::clone(&self.base)
    }

    /// One tenant's settings. With a bad overlay they are those it has had; a tenant that has had none is refused
    /// rather than served with another's secrets.
    pub(super) fn of(&mut self, id: &TenantId, nid: Nid) -> Result<Arc<KeySettings>, CompileFault> {
        let Some(own) = self.overlays.of(nid.0).and_then(|position| self.own.get(position)) else {
            return Ok(Arc::clone(&self.base));
        };
        let problems = match own {
            Ok(settings) => return Ok(Arc::clone(settings)),
            Err(problems) => Arc::clone(problems),
        };
        let before = self.before.and_then(|before| before.tenants.get(id)).filter(|tenant| tenant.nid == nid);
        let Some(before) = before else { return Err(CompileFault::Overlay { tenant: id.clone(), problems }) };
        self.degraded.insert(id.clone(), problems);
        Ok(Arc::clone(&before.keys))
    }

    /// The tenants that had to go on with what they have had, and why.
    pub(super) fn degraded(self) -> BTreeMap<TenantId, Arc<str>> {
        self.degraded
    }
}

fn settings(keys: &TenantKeys, secrets: &TenantSecrets) -> KeySettings {
    let default = schema::Credentials::default();
    let credentials = keys.credentials.as_ref().unwrap_or(&default);
    let pagination = keys.secrets.pagination.as_ref().or(keys.secrets.default.as_ref());
    let hmac = keys.secrets.hmac.as_ref().or(keys.secrets.default.as_ref());
    let api_keys = &credentials.api_keys;
    let hash_version = credentials.imported_keys.hash_version.and_then(HashVersion::from_number);
    KeySettings {
        prefixes: prefixes(&api_keys.prefix),
        issuer: credentials.issuer.clone().unwrap_or_else(|| ISSUER.to_owned()),
        issuers_retired: credentials.issuer_retired.iter().map(retired_text).collect(),
        clock_skew: duration(credentials.clock_skew.as_ref(), CLOCK_SKEW),
        default_ttl: api_keys.default_ttl.as_ref().map(|ttl| ttl.0),
        max_ttl: duration(api_keys.max_ttl.as_ref(), MAX_TTL),
        derived: derived(&credentials.derived_tokens),
        hmac: match hmac.and_then(|hmac| hmac.current.as_ref()) {
            Some(current) => HmacSecret::Configured(secret(current)),
            None => HmacSecret::Derived(secrets.clone()),
        },
        hmac_retired: retired_secrets(hmac),
        pagination: pagination.and_then(|rotation| rotation.current.as_ref()).map(secret),
        pagination_retired: retired_secrets(pagination),
        cache: cache(keys.cache.as_ref()),
        rate_limit_enabled: keys.rate_limit.as_ref().is_some_and(|limit| limit.enabled == Some(true)),
        api_keys_max: keys.quota.as_ref().map(|quota| quota.api_keys_max).filter(|max| *max > 0),
        imported_hash: hash_version.unwrap_or_default(),
    }
}

fn prefixes(prefix: &schema::Prefix) -> KeyPrefixes {
    let text = |prefix: &KeyPrefix| prefix.0.clone();
    KeyPrefixes {
        current: prefix.current.as_ref().map_or_else(|| KEY_PREFIX_DEFAULT.to_owned(), text),
        retired: prefix.retired.iter().map(text).collect(),
        public_current: prefix.public_current.as_ref().map(text),
        public_retired: prefix.public_retired.iter().map(text).collect(),
    }
}

fn derived(tokens: &schema::DerivedTokens) -> DerivedSettings {
    let prefix = &tokens.macaroon.prefix;
    DerivedSettings {
        default_ttl: duration(tokens.default_ttl.as_ref(), DERIVED_TTL),
        macaroon_prefix: prefix.current.clone().unwrap_or_else(|| MACAROON_PREFIX_DEFAULT.to_owned()),
        macaroon_prefixes_retired: prefix.retired.clone(),
        signing_key_id: tokens.jwt.signing_key_id.clone().filter(|id| !id.is_empty()),
        signing_keys: tokens.jwt.signing_keys.urls.iter().map(secret).collect(),
    }
}

fn cache(cache: Option<&schema::Cache>) -> CacheSettings {
    let kind = match cache.and_then(|cache| cache.r#type.as_ref()) {
        Some(CacheType::Memory) | None => CacheKind::Memory,
        Some(CacheType::Redis) => CacheKind::Redis,
        Some(CacheType::Noop) => CacheKind::None,
    };
    let ttl = duration(cache.and_then(|cache| cache.ttl.as_ref()), CACHE_TTL);
    let enabled = cache.and_then(|cache| cache.enabled).unwrap_or(true);
    CacheSettings { kind, enabled, ttl }
}

fn duration(configured: Option<&GoDuration>, default: Duration) -> Duration {
    configured.map_or(default, |configured| configured.0)
}

fn secret(secret: &Secret) -> SecretString {
    secret.expose().to_owned().into()
}

fn retired_text(retired: &schema::Retired) -> Retired<String> {
    match retired {
        schema::Retired::Value(value) => Retired { value: value.clone(), until: None },
        schema::Retired::Until(until) => {
            Retired { value: until.value.clone(), until: until.expires_at.as_ref().map(|at| at.0) }
        }
    }
}

fn retired_secrets(rotation: Option<&Rotation>) -> Vec<Retired<SecretString>> {
    let retired = rotation.map(|rotation| rotation.retired.as_slice()).unwrap_or_default();
    let retired = retired.iter().map(|retired| match retired {
        Rotated::Value(value) => Retired { value: secret(value), until: None },
        Rotated::Until(until) => {
            Retired { value: secret(&until.value), until: until.expires_at.as_ref().map(|at| at.0) }
        }
    });
    retired.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::Path;

    use bh_config::{SourceFile, Sources};
    use secrecy::ExposeSecret;

    use super::*;

    const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
    const TWO: &str = "550e8400-e29b-41d4-a716-446655440002";
    const OTHER: &str = "550e8400-e29b-41d4-a716-446655440003";
    const OVERLAY: &str = "\
secrets: {hmac: {current: overlay-secret-0123456789abcdef01234567, retired: [{value: older-secret-0123456789abcdef01234567, expires_at: 2026-12-31}]}}
credentials:
  issuer: https://one.example
  clock_skew: 1m
  api_keys: {prefix: {current: one, public_current: pub}, default_ttl: 1h}
  derived_tokens:
    jwt: {signing_keys: {urls: ['base64://eyJrZXlzIjpbeyJrdHkiOiJPS1AiLCJjcnYiOiJFZDI1NTE5Iiwia2lkIjoiazEiLCJ4IjoiMTFxWUFZS3hDcmZWU183VHlXUUhPZzdoY3ZQYXBpTWxyd0lhYVBjSFVSbyJ9XX0=']}}
    macaroon: {prefix: {current: m1}}
  imported_keys: {hash_version: 1}
cache: {type: memory, enabled: true, ttl: 1m}
quota: {api_keys_max: 7}
";

    fn loaded(base: &str) -> Loaded {
        let network =
            |host: &str, id: &str, path: &str| format!("  - {{hostname: {host}, id: {id}{path}}}\n");
        let overlay = ", config_path: /one.yaml";
        let networks = [network("a", ONE, overlay), network("b", TWO, overlay), network("c", OTHER, "")];
        let text = format!("{base}multitenancy:\n  enabled: true\n  networks:\n{}", networks.concat());
        let read_file = |path: &Path| match path.to_str() {
            Some("/one.yaml") => Ok(OVERLAY.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let file = Some(SourceFile { name: "bulkhead.yaml", text: &text });
        bh_config::load(Sources { file, env: &BTreeMap::new(), read_file: &read_file }).unwrap()
    }

    fn of(source: &mut KeySource<'_>, nid: &str) -> Arc<KeySettings> {
        source.of(&TenantId::parse("any").unwrap(), Nid(nid.parse().unwrap())).unwrap()
    }

    fn secret_of(keys: &KeySettings, nid: &str) -> String {
        keys.hmac_current(Nid(nid.parse().unwrap())).expose_secret().to_owned()
    }

    #[test]
    fn a_tenant_without_an_overlay_has_the_defaults_and_a_secret_of_its_own() {
        let (loaded, secrets) = (loaded(""), TenantSecrets::new(&[7; 32]));
        let mut source = KeySource::new(&loaded, &secrets, None);
        let keys = of(&mut source, OTHER);
        let texts =
            (keys.prefixes.current.as_str(), keys.issuer.as_str(), keys.derived.macaroon_prefix.as_str());
        assert_eq!(texts, ("ory_ak", "http://localhost/ory/talos", "mc"));
        let lifetimes = [keys.max_ttl, keys.derived.default_ttl, keys.clock_skew].map(|d| d.as_secs());
        assert_eq!((keys.default_ttl, lifetimes), (None, [31_536_000, 3_600, 300]));
        let cache = CacheSettings { kind: CacheKind::Memory, enabled: true, ttl: Duration::from_secs(300) };
        assert_eq!((keys.cache, keys.api_keys_max, keys.imported_hash), (cache, None, HashVersion::V3));
        assert_ne!(secret_of(&keys, OTHER), secret_of(&keys, TWO));
    }

    #[test]
    fn verifications_are_kept_in_memory_unless_that_is_switched_off() {
        for (yaml, on) in [
            ("cache: {}\n", true),
            ("cache: {type: memory}\n", true),
            ("cache: {enabled: true}\n", true),
            ("cache: {type: noop}\n", false),
            ("cache: {type: noop, enabled: true}\n", false),
            ("cache: {enabled: false}\n", false),
            ("cache: {type: memory, enabled: false}\n", false),
            ("cache: {ttl: 0s}\n", false),
        ] {
            let (loaded, secrets) = (loaded(yaml), TenantSecrets::new(&[7; 32]));
            let cache = of(&mut KeySource::new(&loaded, &secrets, None), OTHER).cache;
            assert_eq!(cache.is_on(), on, "{yaml}{cache:?}");
        }
    }

    #[test]
    fn an_overlay_is_what_its_tenants_share_and_the_others_share_the_base() {
        let base = "secrets: {hmac: {current: base-secret-0123456789abcdef0123456789}}\nrate_limit: {enabled: true}\n";
        let (loaded, secrets) = (loaded(base), TenantSecrets::new(&[7; 32]));
        let mut source = KeySource::new(&loaded, &secrets, None);
        let (one, two, other) = (of(&mut source, ONE), of(&mut source, TWO), of(&mut source, OTHER));
        assert!(
            Arc::ptr_eq(&one, &two)
                && Arc::ptr_eq(&other, &of(&mut source, "550e8400-e29b-41d4-a716-446655440009"))
        );
        assert_eq!(secret_of(&other, OTHER), "base-secret-0123456789abcdef0123456789");
        assert_eq!(secret_of(&one, ONE), "overlay-secret-0123456789abcdef01234567");
        let until = one.hmac_retired[0].until.map(|at| at.rfc3339());
        assert_eq!(until.as_deref(), Some("2026-12-31T00:00:00.000Z"));
        let prefixes = (one.prefixes.current.as_str(), one.prefixes.public_current.as_deref());
        assert_eq!((prefixes, one.derived.signing_keys.len()), (("one", Some("pub")), 1));
        assert_eq!((one.default_ttl, one.clock_skew.as_secs()), (Some(Duration::from_secs(3_600)), 60));
        let cache = CacheSettings { kind: CacheKind::Memory, enabled: true, ttl: Duration::from_secs(60) };
        assert_eq!((one.cache, one.api_keys_max, one.imported_hash), (cache, Some(7), HashVersion::V1));
        assert!(one.rate_limit_enabled, "what the overlay leaves out is inherited");
        assert!(!format!("{one:?}{other:?}").contains("-secret-"), "a secret shows");
    }
}
