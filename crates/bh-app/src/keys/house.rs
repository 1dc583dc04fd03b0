//! What one tenant signs and verifies with, made from its settings when it is first needed.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use bh_domain::keys::format::Prefix;
use bh_domain::keys::key::Key;
use bh_domain::keys::secrets::KeySecrets;
use bh_domain::keys::token::{Jwks, JwksError, NewJwk};
use bh_domain::keys::verdict::Visibility;
use bh_domain::refusal::Refusal;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use parking_lot::RwLock;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;

use super::internal;
use crate::metrics::Metrics;
use crate::ports::Clock;
use crate::snapshot::{KeySettings, Retired, Tenant};

/// Tenants whose material is kept; beyond it all is made anew, which costs some microseconds each.
const HOUSES_MAX: usize = 16_384;

/// One tenant's material.
pub(super) struct House {
    pub(super) settings: Arc<KeySettings>,
    pub(super) secrets: KeySecrets,
    /// What page tokens are sealed with, when that is not derived from `secrets`.
    pub(super) pages: Option<KeySecrets>,
    pub(super) current: Prefix,
    pub(super) public: Option<Prefix>,
    accepted: Vec<Prefix>,
    /// The current one first.
    pub(super) macaroons: Vec<Prefix>,
    pub(super) jwks: Jwks,
    /// The `signing_key_id` that no key has: then JWTs are verified, and none is signed.
    pub(super) unknown_signing_key: Option<String>,
}

impl House {
    fn build(tenant: &Tenant, seeds: &TokenSeeds) -> Result<Self, Refusal> {
        let settings = Arc::clone(&tenant.keys);
        let broken =
            |error: &(dyn std::error::Error + 'static)| internal("use a tenant's key settings", error);
        let prefix = |text: &String| Prefix::issued(text).map_err(|error| broken(&error));
        let macaroon = |text: &String| Prefix::macaroon(text).map_err(|error| broken(&error));
        let prefixes = &settings.prefixes;
        let public = prefixes.public_current.as_ref().map(prefix).transpose()?;
        let current = prefix(&prefixes.current)?;
        let retired = prefixes.retired.iter().chain(&prefixes.public_retired).map(prefix);
        let mut accepted = retired.collect::<Result<Vec<_>, _>>()?;
        accepted.extend(public.iter().chain([&current]).cloned());
        let derived = &settings.derived;
        let macaroons = [&derived.macaroon_prefix].into_iter().chain(&derived.macaroon_prefixes_retired);
        let macaroons = macaroons.map(macaroon).collect::<Result<Vec<_>, _>>()?;
        let secrets = KeySecrets::new(settings.hmac_current(tenant.nid), pairs(&settings.hmac_retired));
        let secrets = secrets.map_err(|error| broken(&error))?;
        let pages = settings.pagination.clone();
        let pages = pages.map(|current| KeySecrets::new(current, pairs(&settings.pagination_retired)));
        let pages = pages.transpose().map_err(|error| broken(&error))?;
        let (jwks, unknown_signing_key) = jwks(tenant.nid, &settings, seeds)?;
        Ok(Self { settings, secrets, pages, current, public, accepted, macaroons, jwks, unknown_signing_key })
    }

    /// The prefix of a new key.
    pub(super) fn prefix(&self, visibility: Visibility) -> Option<&Prefix> {
        match visibility {
            Visibility::Secret => Some(&self.current),
            Visibility::Public => self.public.as_ref(),
        }
    }

    /// Whether a key that starts with this is accepted, and is what its row says it starts with.
    pub(super) fn accepts(&self, prefix: &str, key: &Key) -> bool {
        self.accepted.iter().any(|accepted| accepted.as_str() == prefix)
            && key.token_prefix.as_deref().is_none_or(|stored| stored == prefix)
    }

    /// Issuers in force, the current one first.
    pub(super) fn issuers(&self, now: Timestamp) -> Vec<&str> {
        let alive = |retired: &&Retired<String>| retired.until.is_none_or(|until| now < until);
        let retired =
            self.settings.issuers_retired.iter().filter(alive).map(|retired| retired.value.as_str());
        std::iter::once(self.settings.issuer.as_str()).chain(retired).collect()
    }
}

fn pairs<T: Clone>(retired: &[Retired<T>]) -> Vec<(T, Option<Timestamp>)> {
    retired.iter().map(|retired| (retired.value.clone(), retired.until)).collect()
}

/// The configured key set; without one, a key of the tenant's own, so that a fresh installation can derive tokens.
/// Beside it the `signing_key_id` that is in none of it.
fn jwks(nid: Nid, settings: &KeySettings, seeds: &TokenSeeds) -> Result<(Jwks, Option<String>), Refusal> {
    let derived = &settings.derived;
    let told = |error: &(dyn std::error::Error + 'static)| internal("read a tenant's signing keys", error);
    if derived.signing_keys.is_empty() {
        let key = NewJwk::ed25519(&seeds.of(nid), None).map_err(|problem| told(&problem))?;
        let set = format!("{{\"keys\":[{}]}}", key.json.expose_secret());
        let own = Jwks::from_json(Zeroizing::new(set).as_bytes(), None).map_err(|error| told(&error))?;
        let unknown = derived.signing_key_id.clone().filter(|id| own.keys().iter().all(|key| key.id() != id));
        return Ok((own, unknown));
    }
    let sources: Vec<&str> = derived.signing_keys.iter().map(ExposeSecret::expose_secret).collect();
    match Jwks::from_sources(&sources, derived.signing_key_id.as_deref()) {
        Err(JwksError::UnknownSigningKey(id)) => {
            let all = Jwks::from_sources(&sources, None).map_err(|error| told(&error))?;
            Ok((all, Some(id)))
        }
        read => read.map(|jwks| (jwks, None)).map_err(|error| told(&error)),
    }
}

/// Makes Ed25519 seeds of tenants from the installation's master key.
#[derive(Clone)]
pub struct TokenSeeds(Arc<hmac::Key>);

impl std::fmt::Debug for TokenSeeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSeeds(..)")
    }
}

impl TokenSeeds {
    /// From a key derived from the master key for this purpose alone.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    fn of(&self, nid: Nid) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(hmac::sign(&self.0, nid.0.as_bytes()).as_ref());
        seed
    }
}

/// The material of all tenants that have been asked for since their settings last changed.
pub(super) struct Houses {
    seeds: TokenSeeds,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    built: RwLock<HashMap<Nid, Arc<House>>>,
}

impl Houses {
    pub(super) fn new(seeds: TokenSeeds, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { seeds, metrics, clock, built: RwLock::default() }
    }

    /// A tenant's material.
    ///
    /// # Errors
    /// `internal_error` for settings that cannot be used; the log says what is wrong with them.
    pub(super) fn of(&self, tenant: &Tenant) -> Result<Arc<House>, Refusal> {
        let current = |house: &&Arc<House>| Arc::ptr_eq(&house.settings, &tenant.keys);
        if let Some(house) = self.built.read().get(&tenant.nid).filter(current) {
            return Ok(Arc::clone(house));
        }
        let begun_ns = self.clock.monotonic_ns();
        let house = House::build(tenant, &self.seeds);
        self.metrics.keys.loaded(house.is_ok(), self.clock.monotonic_ns().saturating_sub(begun_ns));
        let house = Arc::new(house?);
        let mut built = self.built.write();
        if built.len() >= HOUSES_MAX {
            built.clear();
            self.metrics.keys.signing_keys.set(0);
        }
        let count = |house: &House| i64::try_from(house.jwks.keys().len()).unwrap_or(i64::MAX);
        let before = built.insert(tenant.nid, Arc::clone(&house));
        self.metrics.keys.signing_keys.inc_by(count(&house) - before.map_or(0, |before| count(&before)));
        Ok(house)
    }
}
