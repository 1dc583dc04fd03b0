//! Making a tenant, once: also when the answer is lost on its way and the request is made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use bh_domain::keys::key::KeyKind;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::profile::{Profile, Settings, Status, slug};
use bh_domain::tenant::{Nid, TenantId};
use secrecy::SecretString;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Actor, TenantStory, TenantView, first_key, wrong};
use crate::ports::{Entropy, Made};
use crate::snapshot::Origin;

/// How long after it a request is taken for a repetition.
const REPEATED_WITHIN_MS: i64 = 24 * 60 * 60 * 1_000;
/// Until this process has heard of a tenant that another one made, and how often it looks.
const HEARD_WITHIN: u32 = 20;
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// The longest name of a request, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A tenant that was made, and its key's text, which is told once.
#[derive(Debug)]
pub struct NewTenant {
    /// The tenant.
    pub tenant: TenantView,
    /// The text of its key.
    pub api_key: SecretString,
}

/// What a client calls a request, so that it may make it again (`Idempotency-Key`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestName(String);

impl RequestName {
    /// Reads one.
    ///
    /// # Errors
    /// `invalid_request` for a name that is empty, long, or not printable ASCII.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !printable {
            let message =
                format!("`Idempotency-Key` must be 1 to {NAME_BYTES_MAX} printable ASCII characters");
            return Err(Refusal::new(Code::InvalidRequest, message).with("field", "Idempotency-Key"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What the keys of named requests are made from, so that nobody has to keep their texts: the same request of the same
/// operator makes the same key.
pub struct Repetitions(hmac::Key);

impl std::fmt::Debug for Repetitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repetitions(..)")
    }
}

impl Repetitions {
    /// From a key of the installation's own.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// What a request of an operator makes its key from. Another body is another request, whatever its name.
    fn chance(&self, actor: &Actor, name: &RequestName, id: &str, given: &Map<String, Value>) -> Chance {
        let body = Value::Object(given.clone()).to_string();
        let mut context = hmac::Context::with_key(&self.0);
        for part in [actor.name.as_str(), &name.0, id, &body] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Chance { key: hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref()), blocks: AtomicU64::new(0) }
    }
}

/// Bytes that follow from a request, and that nobody can tell from random ones.
struct Chance {
    key: hmac::Key,
    blocks: AtomicU64,
}

impl Chance {
    fn again(&self) -> Self {
        Self { key: self.key.clone(), blocks: AtomicU64::new(0) }
    }
}

impl Entropy for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(hmac::HMAC_SHA256.digest_algorithm().output_len()) {
            let block = self.blocks.fetch_add(1, Ordering::Relaxed);
            let tag = hmac::sign(&self.key, &block.to_be_bytes());
            part.iter_mut().zip(tag.as_ref()).for_each(|(byte, chance)| *byte = *chance);
        }
    }
}

impl TenantStory {
    /// Makes a tenant with its first key. A request with a name that is made again, by the same operator and with the same
    /// body, within a day, is answered as the first one was, as long as the tenant still has the key it was made with.
    ///
    /// # Errors
    /// `invalid_request`; `tenant_exists`; `evidence_unavailable`.
    pub async fn create(
        &self,
        actor: &Actor,
        id: &str,
        given: &Map<String, Value>,
        name: Option<&RequestName>,
    ) -> Result<NewTenant, Refusal> {
        let chance = name.map(|name| self.0.repetitions.chance(actor, name, id, given));
        let snapshot = self.0.live.load_full();
        let id = slug(id).map_err(|error| wrong(&error))?;
        let settings = Settings::default().changed(given).map_err(|error| wrong(&error))?;
        snapshot.made.presets().admit(&settings)?;
        let named = snapshot.tenants.get(&id);
        if named.is_some_and(|tenant| tenant.origin == Origin::File) {
            return Err(exists(&id, "a configuration file names it, and is where it is changed"));
        }
        let now = self.0.clock.now();
        // One that is always there keeps its network id: whoever was its customer stays (seed 001, migration step 2).
        let nid = named.map_or_else(|| Nid(Uuid::now_v7()), |tenant| tenant.nid);
        let mut profile = Profile {
            id: id.clone(),
            nid,
            status: Status::Active,
            settings,
            api_key: None,
            created: now,
            updated: now,
            revision: 1,
        };
        let tenant = Arc::new(snapshot.made.presets().tenant(&profile));
        let asker = actor.in_tenant(tenant);
        let again = chance.as_ref().map(Chance::again);
        let entropy = chance.as_ref().map(|chance| chance as &dyn Entropy);
        let first = self.0.keys.first_key(&asker, first_key(), entropy)?;
        profile.api_key = Some(first.key.key_id.clone());
        let event = self.event(actor, "tenant.created", None, Some(&profile));
        let made = self.0.store.make_tenant(profile.clone(), first.key, [event, first.event]).await;
        let refusal = match made.map_err(|fault| fault.refusal())? {
            Made::Created => {
                self.0.directory.put([profile.clone()]);
                return Ok(NewTenant {
                    tenant: TenantView::of_row(&snapshot, &profile),
                    api_key: first.secret,
                });
            }
            Made::Exists => exists(&id, "choose another id, or change that one"),
            Made::Known(_) if self.0.directory.profile_ever(&id).is_some() => {
                exists(&id, "choose another id, or change that one; a slug is never used twice")
            }
            Made::Known(_) => {
                let message = "a configuration has named it before, and its records and keys are still kept. \
                     Choose another id, or have a caller of the configuration name it until it is made";
                exists(&id, message)
            }
        };
        actor.origin.untold();
        let Some(chance) = again else { return Err(refusal) };
        self.made_before(actor, &id, &chance).await?.ok_or(refusal)
    }

    /// The answer to the request that made a tenant, if it was this one.
    async fn made_before(
        &self,
        actor: &Actor,
        id: &TenantId,
        chance: &Chance,
    ) -> Result<Option<NewTenant>, Refusal> {
        let Some(profile) = self.heard_of(id).await else { return Ok(None) };
        let Some(key_id) = &profile.api_key else { return Ok(None) };
        let snapshot = self.0.live.load_full();
        let asker = self.asker(&snapshot, actor, &profile)?;
        let key = self.0.keys.get(&asker, KeyKind::Issued, key_id.as_str()).await?;
        if self.0.clock.now().0 - key.created.0 > REPEATED_WITHIN_MS {
            return Ok(None);
        }
        let text = self.0.keys.text_of(&asker, &key, chance)?;
        Ok(text.map(|api_key| NewTenant { tenant: TenantView::of_row(&snapshot, &profile), api_key }))
    }

    /// A tenant that is stored: another process may have made it a moment ago.
    async fn heard_of(&self, id: &TenantId) -> Option<Arc<Profile>> {
        for _ in 0..HEARD_WITHIN {
            if let Some(profile) = self.0.directory.profile(id) {
                return Some(profile);
            }
            if self.0.directory.profile_ever(id).is_some() {
                return None;
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        None
    }
}

fn exists(id: &TenantId, what: &str) -> Refusal {
    Refusal::new(Code::TenantExists, format!("There is a tenant `{id}` already: {what}"))
        .with("tenant", id.as_str())
}
