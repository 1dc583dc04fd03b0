//! A tenant's settings of the API-key server, as requests use them (Talos dossier §7.5 and §8.2).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use bh_domain::evidence::hex;
use bh_domain::keys::imported::HashVersion;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use secrecy::SecretString;

/// One tenant's settings of the API-key server. Tenants without an overlay share one.
#[derive(Debug)]
pub struct KeySettings {
    /// First parts of issued keys.
    pub prefixes: KeyPrefixes,
    /// Issuer named in derived tokens.
    pub issuer: String,
    /// Issuers still accepted.
    pub issuers_retired: Vec<Retired<String>>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// Lifetime of a key that asks for none; `None` = [`KeySettings::max_ttl`].
    pub default_ttl: Option<Duration>,
    /// Longest lifetime of a key.
    pub max_ttl: Duration,
    /// Derived tokens.
    pub derived: DerivedSettings,
    /// What issued keys and macaroons are signed with.
    pub hmac: HmacSecret,
    /// What they may have been signed with before.
    pub hmac_retired: Vec<Retired<SecretString>>,
    /// What page tokens are sealed with, when it is not derived from [`KeySettings::hmac`].
    pub pagination: Option<SecretString>,
    /// What they may have been sealed with before.
    pub pagination_retired: Vec<Retired<SecretString>>,
    /// Cached verifications.
    pub cache: CacheSettings,
    /// Whether rate limits of keys hold.
    pub rate_limit_enabled: bool,
    /// Most live keys; `None` = no limit.
    pub api_keys_max: Option<u64>,
    /// How new imported keys are hashed.
    pub imported_hash: HashVersion,
}

/// First parts of issued keys.
#[derive(Clone, Debug)]
pub struct KeyPrefixes {
    /// Of new keys.
    pub current: String,
    /// Still accepted.
    pub retired: Vec<String>,
    /// Of new keys that are no secret; `None` = no such keys are issued.
    pub public_current: Option<String>,
    /// Still accepted for keys that are no secret.
    pub public_retired: Vec<String>,
}

/// A value that is on its way out.
#[derive(Clone, Debug)]
pub struct Retired<T> {
    /// The value.
    pub value: T,
    /// From this instant on it is refused; `None` = never.
    pub until: Option<Timestamp>,
}

/// Derived tokens.
#[derive(Debug)]
pub struct DerivedSettings {
    /// Lifetime of a token that asks for none.
    pub default_ttl: Duration,
    /// First part of macaroons.
    pub macaroon_prefix: String,
    /// Still accepted.
    pub macaroon_prefixes_retired: Vec<String>,
    /// Which key signs; `None` = the first that can.
    pub signing_key_id: Option<String>,
    /// Key sets as they are configured: `base64://...` or an address. They may hold private keys.
    pub signing_keys: Vec<SecretString>,
}

/// Where verifications are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// Nowhere.
    None,
    /// In the process.
    Memory,
    /// In Redis.
    Redis,
}

/// Cached verifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Where.
    pub kind: CacheKind,
    /// Whether at all.
    pub enabled: bool,
    /// How long one holds.
    pub ttl: Duration,
}

impl CacheSettings {
    /// Whether verifications are kept at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.enabled && self.kind != CacheKind::None && !self.ttl.is_zero()
    }

    /// Until when what is read at an instant may be kept.
    #[must_use]
    pub fn kept_until(&self, now: Timestamp) -> Timestamp {
        now.plus_ms(i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whether replicas share them.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_on() && self.kind == CacheKind::Redis
    }
}

/// What a tenant's keys are signed with.
#[derive(Clone, Debug)]
pub enum HmacSecret {
    /// As configured; tenants that share the settings share it.
    Configured(SecretString),
    /// Nothing is configured: each tenant's own, made from the installation's master key.
    Derived(TenantSecrets),
}

/// Makes secrets of tenants from the installation's master key.
#[derive(Clone)]
pub struct TenantSecrets(Arc<hmac::Key>);

impl std::fmt::Debug for TenantSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantSecrets(..)")
    }
}

impl TenantSecrets {
    /// From a key derived from the master key for this purpose alone.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The secret of one tenant: 64 hexadecimal digits, the same on every replica and after every start.
    #[must_use]
    pub fn of(&self, nid: Nid) -> SecretString {
        let tag = hmac::sign(&self.0, nid.0.as_bytes());
        hex::encode(tag.as_ref()).into()
    }
}

impl KeySettings {
    /// What this tenant's new keys are signed with. Made anew on each call where nothing is configured: keep it with
    /// what is built from it.
    #[must_use]
    pub fn hmac_current(&self, nid: Nid) -> SecretString {
        match &self.hmac {
            HmacSecret::Configured(secret) => secret.clone(),
            HmacSecret::Derived(secrets) => secrets.of(nid),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn derived_secrets_differ_by_tenant_and_installation_and_never_show() {
        let (one, two) = (Nid(Uuid::from_u128(1)), Nid(Uuid::from_u128(2)));
        let secrets = TenantSecrets::new(&[7; 32]);
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        let own = secrets.of(one);
        assert_eq!((own.expose_secret().len(), text(&secrets.of(one))), (64, text(&own)));
        assert_ne!(text(&secrets.of(two)), text(&own));
        assert_ne!(text(&TenantSecrets::new(&[8; 32]).of(one)), text(&own));
        assert_eq!(format!("{:?}", HmacSecret::Derived(secrets)), "Derived(TenantSecrets(..))");
    }
}
