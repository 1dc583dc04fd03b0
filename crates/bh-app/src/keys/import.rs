//! Keys that come from elsewhere.

use std::collections::{BTreeSet, HashMap};

use bh_domain::keys::imported::PlainDigest;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::keys::route::{CREDENTIAL_BYTES_MAX, Route, route};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::house::House;
use super::issue::{expiry, new_key, quota_exceeded};
use super::trail::Action;
use super::{Asker, Attributes, KeyStory, internal, invalid};
use crate::ports::{AuditEvent, INSERT_MANY_MAX, Inserted};

/// The most keys of one batch.
pub const IMPORTS_MAX: usize = INSERT_MANY_MAX;

/// What is known of a key to be taken over. Only a keyed hash of it is kept.
#[derive(Clone, Debug)]
pub enum Material {
    /// Its text.
    Raw(SecretString),
    /// The SHA-256 of its text, which was all that its last server kept.
    Hashed(PlainDigest),
}

/// A key to be taken over.
#[derive(Clone, Debug)]
pub struct Import {
    /// What it is known by.
    pub material: Material,
    /// What it is given.
    pub attributes: Attributes,
    /// How long it lives; `None` for the tenant's default.
    pub ttl: Option<Lifetime>,
}

/// Why one key of a batch was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFault {
    /// What kind of reason.
    pub kind: ImportFaultKind,
    /// In words.
    pub message: String,
}

/// Kinds of reasons, as clients of batches know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFaultKind {
    /// The request cannot be understood.
    InvalidArgument,
    /// The key is here already, or twice in the batch.
    AlreadyExists,
    /// The text is one of ours.
    FailedPrecondition,
    /// Something broke.
    Internal,
    /// The tenant has as many keys as it may.
    ResourceExhausted,
}

impl ImportFaultKind {
    /// The code of an item of a batch (Talos dossier §2.6).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "BATCH_CREATE_IMPORTED_API_KEYS_ERROR_INVALID_ARGUMENT",
            Self::AlreadyExists => "BATCH_CREATE_IMPORTED_API_KEYS_ERROR_ALREADY_EXISTS",
            Self::FailedPrecondition => "BATCH_CREATE_IMPORTED_API_KEYS_ERROR_FAILED_PRECONDITION",
            Self::Internal => "BATCH_CREATE_IMPORTED_API_KEYS_ERROR_INTERNAL",
            Self::ResourceExhausted => "BATCH_CREATE_IMPORTED_API_KEYS_ERROR_RESOURCE_EXHAUSTED",
        }
    }
}

impl KeyStory {
    /// Takes over one key.
    ///
    /// # Errors
    /// `invalid_request`; `conflict` for a key that is here already or has the form of an issued key;
    /// `failed_precondition` for one that has the form of a token; `quota_exceeded`; `evidence_unavailable`. Of a digest
    /// nobody can tell which form its key has, nor whether that is here under another hash than version 3.
    pub async fn import(&self, asker: &Asker, import: Import) -> Result<Key, Refusal> {
        let imported = self.imported(asker, import).await;
        if let Err(refusal) = &imported {
            self.import_failed(asker, &json!({ "code": refusal.code.as_str() }));
        }
        imported
    }

    /// A key that was not taken over is on the trail, without anything of its text.
    fn import_failed(&self, asker: &Asker, detail: &Value) {
        let event = self.plain_event(asker, Action::ImportFailed, "", detail);
        asker.origin.failure_is_told();
        self.0.parts.trail.note(asker.tenant.nid, event);
    }

    async fn imported(&self, asker: &Asker, import: Import) -> Result<Key, Refusal> {
        let house = self.0.houses.of(&asker.tenant)?;
        let now = self.0.parts.clock.now();
        let material = import.material.clone();
        let key = self.taken_over(asker, &house, import, now)?;
        let event = self.event(asker, Action::Imported, &key.key_id, None, Some(&key));
        let max = asker.tenant.api_keys_max();
        // It may be here under another hash than new ones get.
        if let Some(known) = self.known(asker, &material, &key).await? {
            asker.origin.untold();
            return if is_replay(&key, &known) { Ok(known) } else { Err(exists()) };
        }
        let inserted = self.0.parts.store.insert(asker.scope(), key.clone(), max, event).await;
        let inserted = inserted.map_err(|fault| fault.refusal())?;
        self.forget_absent(asker, &material, &key);
        match inserted {
            Inserted::Created => {
                self.0.parts.metrics.keys.created.inc();
                Ok(key)
            }
            Inserted::Replayed(key) => {
                asker.origin.untold();
                Ok(*key)
            }
            Inserted::Exists => Err(exists()),
            Inserted::QuotaExceeded { used } => Err(quota_exceeded(max, used)),
        }
    }

    /// Takes over up to [`IMPORTS_MAX`] keys, each on its own: one answer for each, in order.
    ///
    /// # Errors
    /// `evidence_unavailable`, and then none was taken over.
    pub async fn import_many(
        &self,
        asker: &Asker,
        imports: Vec<Result<Import, Refusal>>,
    ) -> Result<Vec<Result<Key, ImportFault>>, Refusal> {
        let house = self.0.houses.of(&asker.tenant)?;
        let now = self.0.parts.clock.now();
        let mut answers: Vec<Option<Result<Key, ImportFault>>> = Vec::with_capacity(imports.len());
        let mut wanted: Vec<(usize, Material, Key, AuditEvent)> = Vec::new();
        let mut first_at: HashMap<KeyId, usize> = HashMap::new();
        for (index, import) in imports.into_iter().enumerate() {
            let material = import.as_ref().ok().map(|import| import.material.clone());
            let key = import.and_then(|import| self.taken_over(asker, &house, import, now));
            let (key, material) = match (key, material) {
                (Ok(key), Some(material)) => (key, material),
                (Err(refusal), _) => {
                    answers.push(Some(Err(ImportFault::of(&refusal))));
                    continue;
                }
                (Ok(_), None) => continue,
            };
            let mut ids = self.other_ids(asker, &material, &key);
            ids.push(key.key_id.clone());
            if let Some(first) = ids.iter().find_map(|id| first_at.get(id)) {
                let message = format!("The same key stands at index {first} of this batch");
                answers.push(Some(Err(ImportFault { kind: ImportFaultKind::AlreadyExists, message })));
                continue;
            }
            first_at.extend(ids.into_iter().map(|id| (id, index)));
            let event = self.event(asker, Action::Imported, &key.key_id, None, Some(&key));
            wanted.push((index, material, key, event));
            answers.push(None);
        }
        let known = self.known_of(asker, &wanted).await?;
        let max = asker.tenant.api_keys_max();
        let (new, old): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(index, ..)| !known.contains_key(index));
        for (index, _, key, _) in old {
            let before = known.get(&index).filter(|before| is_replay(&key, before));
            set(&mut answers, index, before.cloned().ok_or_else(|| ImportFault::of(&exists())));
        }
        let rows = new.iter().map(|(_, _, key, event)| (key.clone(), event.clone())).collect();
        let inserted = self.0.parts.store.insert_many(asker.scope(), rows, max).await;
        let inserted = inserted.map_err(|fault| fault.refusal())?;
        for ((index, material, key, _), inserted) in new.into_iter().zip(inserted) {
            self.forget_absent(asker, &material, &key);
            set(&mut answers, index, answer(key, inserted, max));
        }
        let lost = || Err(ImportFault { kind: ImportFaultKind::Internal, message: "no answer".to_owned() });
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect();
        let failed = answers.iter().filter_map(|answer| answer.as_ref().err());
        let failed: Vec<&'static str> = failed.map(|fault| fault.kind.as_str()).collect();
        if !failed.is_empty() {
            let codes: BTreeSet<_> = failed.iter().collect();
            self.import_failed(
                asker,
                &json!({ "keys": answers.len(), "failed": failed.len(), "codes": codes }),
            );
        }
        self.0.parts.metrics.keys.batch(answers.len(), failed);
        Ok(answers)
    }

    /// The row of a key that is taken over.
    fn taken_over(
        &self,
        asker: &Asker,
        house: &House,
        import: Import,
        now: Timestamp,
    ) -> Result<Key, Refusal> {
        let raw = match &import.material {
            Material::Raw(raw) => Some(raw.expose_secret()),
            Material::Hashed(_) => None,
        };
        if raw.is_some_and(str::is_empty) {
            return Err(invalid("raw_key", "is missing or empty; give the key, or its SHA-256 in `hashed`"));
        }
        if raw.is_some_and(|raw| raw.len() > CREDENTIAL_BYTES_MAX) {
            return Err(invalid("raw_key", format!("longer than {CREDENTIAL_BYTES_MAX} bytes")));
        }
        if import.attributes.name.is_empty() {
            return Err(invalid("name", "is missing or empty"));
        }
        if import.attributes.actor_id.as_deref().is_none_or(str::is_empty) {
            return Err(invalid("actor_id", "is missing or empty"));
        }
        raw.map_or(Ok(()), |raw| from_elsewhere(raw, house))?;
        let attributes = import.attributes.checked()?;
        let expires = expiry(&house.settings, import.ttl, now)?;
        let (hasher, nid) = (&self.0.parts.hasher, asker.tenant.nid);
        let id = match &import.material {
            Material::Raw(raw) => {
                hasher.key_id(house.settings.imported_hash, nid, raw.expose_secret().as_bytes())
            }
            Material::Hashed(digest) => hasher.hashed_id(nid, digest),
        };
        let key_id = KeyId::parse(&id).map_err(|error| internal("name an imported key", &error))?;
        Ok(new_key(KeyKind::Imported, key_id, attributes, now, Some(expires)))
    }

    /// Every id under which this key may be kept, but for the new row's own. Of a digest nobody knows them.
    fn other_ids(&self, asker: &Asker, material: &Material, key: &Key) -> Vec<KeyId> {
        let Material::Raw(raw) = material else { return Vec::new() };
        let ids = self.0.parts.hasher.candidates(asker.tenant.nid, raw.expose_secret().as_bytes());
        ids.iter().filter_map(|id| KeyId::parse(id).ok()).filter(|id| *id != key.key_id).collect()
    }

    async fn known(&self, asker: &Asker, material: &Material, key: &Key) -> Result<Option<Key>, Refusal> {
        let others = self.other_ids(asker, material, key);
        if others.is_empty() {
            return Ok(None);
        }
        let found = self.0.parts.store.keys(asker.scope(), KeyKind::Imported, others).await;
        Ok(found.map_err(|fault| fault.refusal())?.pop())
    }

    /// Which of these keys are here already under another hash, by index.
    async fn known_of(
        &self,
        asker: &Asker,
        wanted: &[(usize, Material, Key, AuditEvent)],
    ) -> Result<HashMap<usize, Key>, Refusal> {
        let mut index_of: HashMap<KeyId, usize> = HashMap::new();
        for (index, material, key, _) in wanted {
            index_of.extend(self.other_ids(asker, material, key).into_iter().map(|id| (id, *index)));
        }
        let ids = index_of.keys().cloned().collect();
        let found = self.0.parts.store.keys(asker.scope(), KeyKind::Imported, ids).await;
        let found = found.map_err(|fault| fault.refusal())?;
        let placed = |key: Key| index_of.get(&key.key_id).map(|index| (*index, key));
        Ok(found.into_iter().filter_map(placed).collect())
    }

    /// What was unknown a moment ago is known now, under whichever hash it was looked for.
    fn forget_absent(&self, asker: &Asker, material: &Material, key: &Key) {
        self.0.rows.appeared(asker.tenant.nid, &key.key_id);
        for id in self.other_ids(asker, material, key) {
            self.0.rows.appeared(asker.tenant.nid, &id);
        }
    }
}

impl ImportFault {
    /// A refusal as an item of a batch tells it. There a text that is one of ours is always a failed precondition.
    fn of(refusal: &Refusal) -> Self {
        let code = refusal.code;
        let kind = if code == Code::Conflict && refusal.message == EXISTS {
            ImportFaultKind::AlreadyExists
        } else if code == Code::Conflict || code == Code::FailedPrecondition {
            ImportFaultKind::FailedPrecondition
        } else if code == Code::QuotaExceeded {
            ImportFaultKind::ResourceExhausted
        } else if code.status() < 500 {
            ImportFaultKind::InvalidArgument
        } else {
            ImportFaultKind::Internal
        };
        Self { kind, message: refusal.message.clone() }
    }
}

const EXISTS: &str = "This key was imported already";

fn exists() -> Refusal {
    Refusal::new(Code::Conflict, EXISTS)
}

/// Whether a text may be a key of another server: it has no form that is made here.
fn from_elsewhere(raw: &str, house: &House) -> Result<(), Refusal> {
    match route(raw.as_bytes(), &house.macaroons) {
        Route::Imported => Ok(()),
        Route::Issued(_) => {
            let message = "The text has the form of a key that is issued here: it cannot be imported";
            Err(Refusal::new(Code::Conflict, message))
        }
        Route::Jwt | Route::Macaroon => {
            let message = "The text has the form of a derived token: it cannot be imported";
            Err(Refusal::new(Code::FailedPrecondition, message))
        }
    }
}

/// Whether a key that is here under another hash was made by the same request.
fn is_replay(wanted: &Key, known: &Key) -> bool {
    wanted.request_id.is_some() && wanted.request_id == known.request_id
}

fn set(answers: &mut [Option<Result<Key, ImportFault>>], index: usize, answer: Result<Key, ImportFault>) {
    if let Some(place) = answers.get_mut(index) {
        *place = Some(answer);
    }
}

fn answer(key: Key, inserted: Inserted, max: Option<u64>) -> Result<Key, ImportFault> {
    match inserted {
        Inserted::Created => Ok(key),
        Inserted::Replayed(key) => Ok(*key),
        Inserted::Exists => Err(ImportFault::of(&exists())),
        Inserted::QuotaExceeded { used } => Err(ImportFault::of(&quota_exceeded(max, used))),
    }
}
