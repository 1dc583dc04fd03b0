//! Is this credential good? The question that is asked most.

use std::net::IpAddr;
use std::sync::Arc;

use bh_domain::keys::format::IssuedKey;
use bh_domain::keys::imported::HashVersion;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::permission::PermissionQuery;
use bh_domain::keys::route::{CREDENTIAL_BYTES_MAX, Route, route};
use bh_domain::keys::verdict::{KeyStatus, VerificationError};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::KeyStory;
use super::counting::LimitUse;
use super::house::House;
use super::identities::lookup;
use super::rows::{FoundKey, Known, Reading, Row};
use super::tokens::TokenSubject;
use super::verdict::{CacheUse, Denied, Freshness, Subject, Verdict};
use crate::metrics::{CredentialType, Verified};
use crate::snapshot::Tenant;

/// The most credentials of one batch.
pub const BATCH_VERIFY_MAX: usize = 100;

/// A question about a credential.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The credential.
    pub credential: &'a str,
    /// Whom it has to be for; empty: it may name nobody.
    pub audiences: &'a [String],
    /// How fresh the answer has to be.
    pub freshness: Freshness,
    /// Where it comes from; `None` when nobody knows, which no restricted key passes.
    pub address: Option<IpAddr>,
    /// Whether this is a use, which counts against the key's rate and is remembered.
    pub counted: bool,
    /// What else it has to have.
    pub needs: Needs<'a>,
}

/// What a credential has to have beyond being good. By default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs<'a> {
    /// Permissions. Those of a token are its key's, as they are now, as far as its caveats leave them.
    pub permissions: Option<&'a PermissionQuery>,
    /// Room in named limits of the key, which is taken. A key that has no limit of a name is not limited by it.
    pub limits: &'a [LimitUse],
    /// Credits, which are taken; `None` for one of a key that has some, and of a token none. With 0 they are only told.
    pub credits: Option<u64>,
}

impl Needs<'_> {
    /// Whether there is anything that a token's key has to be asked for.
    fn any(&self) -> bool {
        let Self { permissions, limits, credits } = self;
        permissions.is_some() || !limits.is_empty() || credits.is_some()
    }
}

/// A key that showed that it may be known here, before its row is looked at.
pub(super) enum Shown<'a> {
    Issued(IssuedKey<'a>),
    Imported(&'a [u8]),
    /// One that a token names.
    Named(KeyKind, &'a KeyId),
}

impl Shown<'_> {
    fn kind(&self) -> KeyKind {
        match self {
            Self::Issued(_) => KeyKind::Issued,
            Self::Imported(_) => KeyKind::Imported,
            Self::Named(kind, _) => *kind,
        }
    }
}

/// The type of a route, for metrics.
fn type_of(route: &Route<'_>) -> CredentialType {
    match route {
        Route::Jwt => CredentialType::DerivedJwt,
        Route::Macaroon => CredentialType::DerivedMacaroon,
        Route::Issued(_) => CredentialType::Issued,
        Route::Imported => CredentialType::Imported,
    }
}

impl KeyStory {
    /// Says whether a credential is good in a tenant.
    pub async fn verify(&self, tenant: &Tenant, question: Question<'_>) -> Verdict {
        let begun_ns = self.0.parts.clock.monotonic_ns();
        let (of, verdict) = match self.0.houses.of(tenant) {
            // Whoever asks is told what every door says: nothing of a suspended tenant is good. A door tells it itself.
            _ if question.counted && !tenant.active => {
                (CredentialType::Unknown, no(VerificationError::NotFound))
            }
            Ok(house) => self.judged(tenant, &house, &question).await,
            Err(_) => (CredentialType::Unknown, no(VerificationError::Internal)),
        };
        let verdict = if question.counted { self.counted(tenant, verdict, &question).await } else { verdict };
        if let Some(denied) = &verdict.denied {
            self.failed(tenant.nid, of, denied.code, verdict.key_id(), question.address);
        }
        if !question.counted {
            return verdict;
        }
        let cache_hit = match verdict.cache {
            CacheUse::Hit => Some(true),
            CacheUse::Miss => Some(false),
            CacheUse::Skip => None,
        };
        let ns = self.0.parts.clock.monotonic_ns().saturating_sub(begun_ns);
        self.0.parts.metrics.keys.verified(Verified { of, good: verdict.is_valid(), cache_hit, ns });
        verdict
    }

    async fn judged(
        &self,
        tenant: &Tenant,
        house: &House,
        question: &Question<'_>,
    ) -> (CredentialType, Verdict) {
        let nid = tenant.nid;
        let credential = question.credential;
        if credential.is_empty() || credential.len() > CREDENTIAL_BYTES_MAX {
            return (CredentialType::Unknown, no(VerificationError::InvalidFormat));
        }
        let now = self.0.parts.clock.now();
        let route = route(credential.as_bytes(), &house.macaroons);
        let verdict = match route {
            Route::Jwt | Route::Macaroon => {
                let judged = self.verify_token(nid, house, credential, now);
                match judged {
                    Ok(token) => self.judged_token(tenant, token, question).await,
                    Err(denied) => Verdict::no(denied, CacheUse::Skip),
                }
            }
            Route::Issued(issued) => match genuine(&issued, house, now) {
                Ok(()) => self.judged_key(nid, house, &Shown::Issued(issued), question, now).await,
                Err(denied) => Verdict::no(denied, CacheUse::Skip),
            },
            Route::Imported => {
                let shown = Shown::Imported(credential.as_bytes());
                self.judged_key(nid, house, &shown, question, now).await
            }
        };
        (type_of(&route), verdict)
    }

    /// Whether a genuine token may be used now, from there, for that. Only where something is needed that only its key
    /// has, that is looked at, and counts.
    async fn judged_token(&self, tenant: &Tenant, token: TokenSubject, question: &Question<'_>) -> Verdict {
        let no = |token: &TokenSubject, denied| {
            let key_id = token.narrowed.claims().key_id.as_deref().and_then(|id| KeyId::parse(id).ok());
            Verdict::no(denied, CacheUse::Skip).naming(key_id)
        };
        if let Err(code) = admitted_token(&token, question) {
            return no(&token, Denied::because(code));
        }
        if !question.needs.any() {
            return good(Subject::Token(Arc::new(token)), CacheUse::Skip);
        }
        let found = self.parent_of(tenant, &token, question.freshness, question.address).await;
        let permitted = |found: FoundKey| permitted_token(&token, &found.row, question.needs).map(|()| found);
        match found.and_then(permitted) {
            Ok(FoundKey { row, identity }) => {
                let verdict = good(Subject::Token(Arc::new(token)), CacheUse::Skip);
                Verdict { parent: Some(row), identity, ..verdict }
            }
            Err(denied) => no(&token, denied),
        }
    }

    async fn judged_key(
        &self,
        nid: Nid,
        house: &House,
        shown: &Shown<'_>,
        question: &Question<'_>,
        now: Timestamp,
    ) -> Verdict {
        let (found, cache) = self.row(nid, house, shown, question.freshness, now).await;
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Verdict::no(Denied::because(VerificationError::NotFound), cache),
            Err(denied) => return Verdict::no(denied, cache),
        };
        let admitted = admitted_key(&found.row, house, shown, question, now).and_then(|()| found.readable());
        let FoundKey { row, identity } = found;
        match admitted {
            Ok(()) => Verdict { identity, ..good(Subject::Key(row), cache) },
            Err(denied) => Verdict::no(denied, cache).naming(Some(row.key.key_id.clone())),
        }
    }

    /// The row of a key and the identity that it belongs to: from memory, where that is allowed and knows them.
    pub(super) async fn row(
        &self,
        nid: Nid,
        house: &House,
        shown: &Shown<'_>,
        freshness: Freshness,
        now: Timestamp,
    ) -> (Result<Option<FoundKey>, Denied>, CacheUse) {
        let rows = &self.0.rows;
        let cache = &house.settings.cache;
        let reads_memory = cache.is_on() && freshness == Freshness::Cached;
        let cache_use = if reads_memory { CacheUse::Miss } else { CacheUse::Skip };
        let trusted = rows.hears();
        if reads_memory && trusted {
            match self.remembered(nid, shown, now) {
                Known::Present(row) => {
                    return (self.with_identity(nid, row, cache, now).await.map(Some), CacheUse::Hit);
                }
                Known::Absent => return (Ok(None), CacheUse::Hit),
                Known::Unknown => {}
            }
        }
        let ids = self.ids(nid, shown);
        let readings: Vec<Reading> = ids.iter().map(|id| rows.reading(nid, id)).collect();
        let shared = self.0.shared.as_ref().filter(|_| cache.is_shared() && trusted);
        if let Some(shared) = shared.filter(|_| reads_memory)
            && let Some(likeliest) = ids.first()
            && let Some((key, until)) = shared.find(nid, shown.kind(), likeliest).await
            && self.is_current(nid, &key.key_id, &readings)
        {
            let row = Arc::new(Row::new(key));
            rows.keep(readings, Some(&row), until, now);
            return (self.with_identity(nid, row, cache, now).await.map(Some), CacheUse::Hit);
        }
        let begun = self.0.identities.begin();
        let Ok(found) = self.0.reads.read((nid, shown.kind()), ids).await else {
            return (Err(Denied::because(VerificationError::Internal)), cache_use);
        };
        if cache.is_on() && trusted && freshness != Freshness::NoStore {
            let row = found.as_ref().map(|found| &found.row);
            let end = row.and_then(|row| row.key.expires).unwrap_or(Timestamp(i64::MAX));
            let until = cache.kept_until(now).min(end);
            // Never under another id than the likeliest: nothing there tells that a likelier row has come since.
            if let (Some(shared), Some(row)) = (shared, row)
                && readings.first().is_some_and(|reading| reading.is_of(&row.key.key_id))
            {
                shared.keep(nid, &row.key, now, until);
            }
            rows.keep(readings, row, until, now);
            if let Some(found) = &found
                && let Some(lookup) = lookup(nid, &found.row.key, cache, now)
            {
                self.0.identities.keep(lookup, found.identity.clone(), begun);
            }
        }
        (Ok(found), cache_use)
    }

    /// Whether nothing says that what shared memory told of a key is from before a change.
    fn is_current(&self, nid: Nid, key_id: &KeyId, readings: &[Reading]) -> bool {
        let rows = &self.0.rows;
        rows.hears() && !rows.fences.has(nid, key_id) && !readings.iter().any(|reading| rows.is_over(reading))
    }

    /// What memory knows of a key. A key that is not here is remembered under its likeliest id.
    fn remembered(&self, nid: Nid, shown: &Shown<'_>, now: Timestamp) -> Known {
        let rows = &self.0.rows;
        let raw = match shown {
            Shown::Issued(issued) => {
                let mut text = Uuid::encode_buffer();
                return rows.known(nid, issued.key_id.hyphenated().encode_lower(&mut text), now);
            }
            Shown::Imported(raw) => raw,
            Shown::Named(_, key_id) => return rows.known(nid, key_id.as_str(), now),
        };
        let hasher = &self.0.parts.hasher;
        rows.known_by_likeliest(nid, &hasher.key_id(HashVersion::default(), nid, raw), now)
    }

    /// The ids a key may be kept under, the likeliest first.
    fn ids(&self, nid: Nid, shown: &Shown<'_>) -> Vec<KeyId> {
        let texts = match shown {
            Shown::Issued(issued) => vec![issued.key_id.hyphenated().to_string()],
            Shown::Imported(raw) => self.0.parts.hasher.candidates(nid, raw).to_vec(),
            Shown::Named(_, key_id) => vec![key_id.to_string()],
        };
        texts.iter().filter_map(|id| KeyId::parse(id).ok()).collect()
    }
}

fn no(code: VerificationError) -> Verdict {
    Verdict::no(Denied::because(code), CacheUse::Skip)
}

fn good(subject: Subject, cache: CacheUse) -> Verdict {
    Verdict { subject: Some(subject), ..Verdict::undecided(cache) }
}

/// Whether a key's text was made here, lately enough.
fn genuine(key: &IssuedKey<'_>, house: &House, now: Timestamp) -> Result<(), Denied> {
    let not_found = |message: &str| Err(Denied::saying(VerificationError::NotFound, message));
    if !key.is_signed(&house.secrets, now) {
        return not_found("invalid API key checksum");
    }
    let age_ms = now.0 - key.issued_at.0;
    let within = |ms: i64, limit: std::time::Duration| u128::from(ms.unsigned_abs()) <= limit.as_millis();
    let in_window = if age_ms >= 0 {
        within(age_ms, house.settings.max_ttl)
    } else {
        within(age_ms, house.settings.clock_skew)
    };
    if in_window { Ok(()) } else { not_found("timestamp out of range") }
}

/// Whether a stored key may be used now, from there, for that.
fn admitted_key(
    row: &Row,
    house: &House,
    shown: &Shown<'_>,
    question: &Question<'_>,
    now: Timestamp,
) -> Result<(), Denied> {
    let key: &Key = &row.key;
    if let Shown::Issued(issued) = shown {
        if !house.accepts(issued.prefix, key) {
            return Err(Denied::saying(VerificationError::NotFound, "prefix not allowed"));
        }
        if !issued.carries(key.secret_digest.as_ref()) {
            return Err(Denied::because(VerificationError::NotFound));
        }
    }
    match key.status_at(now) {
        KeyStatus::Active if key.enabled => {}
        KeyStatus::Active => {
            return Err(Denied::saying(VerificationError::NotFound, "the API key is disabled"));
        }
        KeyStatus::Revoked => return Err(Denied::because(VerificationError::Revoked)),
        KeyStatus::Expired => return Err(Denied::because(VerificationError::Expired)),
    }
    let extras = row.readable_extras()?;
    if !row.admits_address(question.address) {
        return Err(Denied::because(VerificationError::IpNotAllowed));
    }
    // A key names no audience, so it is good only where none is asked for.
    if !question.audiences.is_empty() {
        return Err(Denied::because(VerificationError::AudienceMismatch));
    }
    let is_met = |query: &PermissionQuery| query.is_met_by(&extras.permissions);
    granted(question.needs.permissions.is_none_or(is_met))
}

fn granted(granted: bool) -> Result<(), Denied> {
    if granted { Ok(()) } else { Err(Denied::because(VerificationError::InsufficientPermissions)) }
}

/// Whether a token's key, as it is now, grants what is asked for, as far as the token's caveats leave it.
fn permitted_token(token: &TokenSubject, row: &Row, needs: Needs<'_>) -> Result<(), Denied> {
    let extras = row.readable_extras()?;
    let is_met = |query: &PermissionQuery| token.narrowed.admits_permissions(query, &extras.permissions);
    granted(needs.permissions.is_none_or(is_met))
}

fn admitted_token(token: &TokenSubject, question: &Question<'_>) -> Result<(), VerificationError> {
    if !token.narrowed.admits_address(question.address) {
        return Err(VerificationError::IpNotAllowed);
    }
    if !token.narrowed.admits_audience(question.audiences) {
        return Err(VerificationError::AudienceMismatch);
    }
    Ok(())
}
