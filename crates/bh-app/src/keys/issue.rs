//! New keys.

use bh_domain::keys::extras::Extras;
use bh_domain::keys::format::{self, Prefix, RANDOM_BYTES};
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::keys::verdict::{KeyStatus, Visibility};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use secrecy::SecretString;
use uuid::Uuid;

use super::house::House;
use super::trail::Action;
use super::{Asker, Attributes, KeyStory, internal, invalid};
use crate::ports::{AuditEvent, Entropy, Inserted};
use crate::snapshot::KeySettings;

/// The version of issued keys' text.
const FORMAT_VERSION: u32 = 1;

/// A request for a new key.
#[derive(Clone, Debug, Default)]
pub struct Issue {
    /// What it is given.
    pub attributes: Attributes,
    /// How long it lives; `None` for the tenant's default.
    pub ttl: Option<Lifetime>,
}

/// A new key and its text, which is told once.
#[derive(Debug)]
pub struct IssuedKey {
    /// The row.
    pub key: Key,
    /// `None` when the request was a repetition: the text was told before.
    pub secret: Option<SecretString>,
}

/// The first key of a tenant, not yet stored.
pub(crate) struct FirstKey {
    pub(crate) key: Key,
    pub(crate) secret: SecretString,
    pub(crate) event: AuditEvent,
}

/// A key that has its text, but no row yet.
pub(super) struct Minted {
    pub(super) key: Key,
    pub(super) secret: SecretString,
}

impl KeyStory {
    /// Issues a key.
    ///
    /// # Errors
    /// `invalid_request`, `quota_exceeded`, `evidence_unavailable`.
    pub async fn issue(&self, asker: &Asker, issue: Issue) -> Result<IssuedKey, Refusal> {
        let repeated =
            || Refusal::new(Code::Internal, "The machine's randomness has repeated itself; try again");
        self.issue_from(asker, issue, &*self.0.parts.entropy).await?.ok_or_else(repeated)
    }

    /// As [`KeyStory::issue`], made from this; `None`: there is a key that was.
    pub(crate) async fn issue_from(
        &self,
        asker: &Asker,
        issue: Issue,
        entropy: &dyn Entropy,
    ) -> Result<Option<IssuedKey>, Refusal> {
        let attributes = issue.attributes.checked()?;
        let house = self.0.houses.of(&asker.tenant)?;
        let now = self.0.parts.clock.now();
        let expires = expiry(&house.settings, issue.ttl, now)?;
        let Minted { key, secret } = self.mint(&house, attributes, now, Some(expires), entropy)?;
        let event = self.event(asker, Action::Issued, &key.key_id, None, Some(&key));
        let max = asker.tenant.api_keys_max();
        let inserted = self.0.parts.store.insert(asker.scope(), key.clone(), max, event).await;
        match inserted.map_err(|fault| fault.refusal())? {
            Inserted::Created => {
                self.0.parts.metrics.keys.created.inc();
                self.0.rows.appeared(asker.tenant.nid, &key.key_id);
                Ok(Some(IssuedKey { key, secret: Some(secret) }))
            }
            Inserted::Replayed(key) => {
                asker.origin.untold();
                Ok(Some(IssuedKey { key: *key, secret: None }))
            }
            Inserted::QuotaExceeded { used } => Err(quota_exceeded(max, used)),
            Inserted::Exists => Ok(None),
        }
    }

    /// The first key of a tenant that is being made, to be stored with it; made from the machine's randomness, unless from
    /// `entropy`.
    ///
    /// # Errors
    /// `invalid_request`; `internal_error` for key settings that cannot be used.
    pub(crate) fn first_key(
        &self,
        asker: &Asker,
        attributes: Attributes,
        entropy: Option<&dyn Entropy>,
    ) -> Result<FirstKey, Refusal> {
        let entropy = entropy.unwrap_or(&*self.0.parts.entropy);
        let house = self.0.houses.of(&asker.tenant)?;
        let now = self.0.parts.clock.now();
        let expires = expiry(&house.settings, None, now)?;
        let Minted { key, secret } = self.mint(&house, attributes.checked()?, now, Some(expires), entropy)?;
        let event = self.event(asker, Action::Issued, &key.key_id, None, Some(&key));
        Ok(FirstKey { key, secret, event })
    }

    /// The text of a stored key, if it was made from this.
    ///
    /// # Errors
    /// `internal_error` for key settings that cannot be used.
    pub(crate) fn text_of(
        &self,
        asker: &Asker,
        key: &Key,
        entropy: &dyn Entropy,
    ) -> Result<Option<SecretString>, Refusal> {
        let house = self.0.houses.of(&asker.tenant)?;
        let (id, random) = drawn(entropy);
        let is_it = key.key_id.as_str() == id.hyphenated().to_string()
            && key.secret_digest == Some(format::secret_digest(&random));
        // As its row has it: by another prefix it would be refused.
        let prefix = key.token_prefix.as_deref().filter(|_| is_it).map(Prefix::issued).transpose();
        let prefix = prefix.map_err(|error| internal("tell a key again", &error))?;
        Ok(prefix.map(|prefix| format::mint(&house.secrets, &prefix, key.created, id, &random)))
    }

    /// The text and the row of a new key.
    pub(super) fn mint(
        &self,
        house: &House,
        attributes: Attributes,
        now: Timestamp,
        expires: Option<Timestamp>,
        entropy: &dyn Entropy,
    ) -> Result<Minted, Refusal> {
        let Some(prefix) = house.prefix(attributes.visibility) else {
            let problem = "public keys are not issued here: no `credentials.api_keys.prefix.public_current`";
            return Err(invalid("visibility", problem));
        };
        let (id, random) = drawn(entropy);
        let secret = format::mint(&house.secrets, prefix, now, id, &random);
        let key_id = KeyId::parse(&id.hyphenated().to_string());
        let key_id = key_id.map_err(|error| internal("name a new key", &error))?;
        let mut key = new_key(KeyKind::Issued, key_id, attributes, now, expires);
        key.token_prefix = Some(prefix.as_str().to_owned());
        key.version = FORMAT_VERSION;
        key.secret_digest = Some(format::secret_digest(&random));
        Ok(Minted { key, secret })
    }
}

/// A key's id and its random bytes.
pub(super) fn drawn(entropy: &dyn Entropy) -> (Uuid, [u8; RANDOM_BYTES]) {
    let (mut id, mut random) = ([0; 16], [0; RANDOM_BYTES]);
    entropy.fill(&mut id);
    entropy.fill(&mut random);
    (uuid::Builder::from_random_bytes(id).into_uuid(), random)
}

/// A row with nothing but what was asked for.
pub(super) fn new_key(
    kind: KeyKind,
    key_id: KeyId,
    attributes: Attributes,
    now: Timestamp,
    expires: Option<Timestamp>,
) -> Key {
    let refill = Extras::read(&attributes.extras).ok().and_then(|extras| extras.credits_refill);
    let refills = attributes.credits.and(refill).map(|refill| refill.next(now));
    let Attributes { name, actor_id, scopes, metadata, rate_limit, allowed_cidrs, .. } = attributes;
    Key {
        kind,
        key_id,
        name,
        actor_id,
        scopes,
        metadata,
        status: KeyStatus::Active,
        enabled: true,
        visibility: attributes.visibility,
        token_prefix: None,
        version: 0,
        secret_digest: None,
        created: now,
        updated: now,
        expires,
        last_used: None,
        rate_limit,
        allowed_cidrs,
        revocation: None,
        request_id: attributes.request_id,
        extras: attributes.extras,
        credits: attributes.credits,
        refills,
        revision: 1,
    }
}

/// When a new key ends: no key lives for ever (product decision).
pub(super) fn expiry(
    settings: &KeySettings,
    ttl: Option<Lifetime>,
    now: Timestamp,
) -> Result<Timestamp, Refusal> {
    let max_ms = i64::try_from(settings.max_ttl.as_millis()).unwrap_or(i64::MAX);
    let default_ms = settings.default_ttl.and_then(|ttl| i64::try_from(ttl.as_millis()).ok());
    let ms = ttl.map_or(default_ms.unwrap_or(max_ms).min(max_ms), |ttl| ttl.ms().cast_signed());
    if ms > max_ms {
        let max_s = settings.max_ttl.as_secs();
        return Err(invalid("ttl", format!("longer than the longest life of a key here, {max_s}s")));
    }
    Ok(now.plus_ms(ms))
}

pub(super) fn quota_exceeded(max: Option<u64>, used: u64) -> Refusal {
    let limit = max.unwrap_or(used);
    let message = format!("The tenant has {used} live keys of at most {limit}: revoke or delete some first");
    Refusal::new(Code::QuotaExceeded, message)
        .with("limit", limit.to_string())
        .with("current_usage", used.to_string())
}

/// A public key can be told from a secret one by its prefix alone.
pub(super) fn visibility_of(asked: Option<Visibility>, old: &Key) -> Visibility {
    asked.unwrap_or(old.visibility)
}
