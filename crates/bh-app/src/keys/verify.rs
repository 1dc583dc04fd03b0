//! Is this credential good? The question that is asked most.

use std::net::IpAddr;
use std::sync::Arc;

use bh_domain::keys::format::IssuedKey;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::route::{CREDENTIAL_BYTES_MAX, Route, route};
use bh_domain::keys::verdict::{KeyStatus, VerificationError};
use bh_domain::limit::{RateLimit, RateVerdict};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use quick_cache::sync::Cache;

use super::KeyStory;
use super::house::House;
use super::rows::{Known, Row};
use super::tokens::TokenSubject;
use super::verdict::{CacheUse, Denied, Freshness, Subject, Verdict};
use crate::rates::RateCell;
use crate::snapshot::{CacheKind, Tenant};

/// The most credentials of one batch.
pub const BATCH_VERIFY_MAX: usize = 100;
/// Keys whose rate is counted; those that are used least go first, and start anew.
const COUNTED_MAX: usize = 262_144;

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
    /// Whether address ranges do not matter: for what happens far from where the key is used.
    pub any_address: bool,
    /// Whether this is a use, which counts against the key's rate and is remembered.
    pub counted: bool,
}

/// Counts of keys that have a rate limit.
pub(super) struct KeyLimits(Cache<(Nid, KeyId), Arc<RateCell>>);

impl Default for KeyLimits {
    fn default() -> Self {
        Self(Cache::new(COUNTED_MAX))
    }
}

impl KeyLimits {
    fn cell(&self, nid: Nid, key_id: &KeyId) -> Arc<RateCell> {
        let new = || Arc::new(RateCell::new(nid, key_id.as_str()));
        let cell =
            self.0.get_or_insert_with(&(nid, key_id.clone()), || Ok::<_, std::convert::Infallible>(new()));
        cell.unwrap_or_else(|never| match never {})
    }
}

/// A key that showed that it is known here, before its row is looked at.
struct Shown<'a> {
    kind: KeyKind,
    /// The ids it may be kept under, the likeliest first.
    ids: Vec<KeyId>,
    issued: Option<IssuedKey<'a>>,
}

impl KeyStory {
    /// Says whether a credential is good in a tenant.
    pub async fn verify(&self, tenant: &Tenant, question: Question<'_>) -> Verdict {
        let verdict = match self.0.houses.of(tenant) {
            Ok(house) => self.judged(tenant, &house, question).await,
            Err(_) => Verdict::no(Denied::because(VerificationError::Internal), CacheUse::Skip),
        };
        if question.counted { self.counted(tenant, verdict) } else { verdict }
    }

    async fn judged(&self, tenant: &Tenant, house: &House, question: Question<'_>) -> Verdict {
        let credential = question.credential;
        let no = |code| Verdict::no(Denied::because(code), CacheUse::Skip);
        if credential.is_empty() || credential.len() > CREDENTIAL_BYTES_MAX {
            return no(VerificationError::InvalidFormat);
        }
        let now = self.0.parts.clock.now();
        let shown = match route(credential.as_bytes(), &house.macaroons) {
            Route::Jwt | Route::Macaroon => {
                let judged = self.verify_token(tenant.nid, house, credential, now);
                let judged = judged.and_then(|token| admitted_token(token, &question));
                return match judged {
                    Ok(token) => good(Subject::Token(Arc::new(token)), CacheUse::Skip),
                    Err(denied) => Verdict::no(denied, CacheUse::Skip),
                };
            }
            Route::Issued(issued) => {
                if let Err(denied) = genuine(&issued, house, now) {
                    return Verdict::no(denied, CacheUse::Skip);
                }
                let Ok(id) = KeyId::parse(&issued.key_id.hyphenated().to_string()) else {
                    return no(VerificationError::NotFound);
                };
                Shown { kind: KeyKind::Issued, ids: vec![id], issued: Some(issued) }
            }
            Route::Imported => {
                let ids = self.0.parts.hasher.candidates(tenant.nid, credential.as_bytes());
                let ids = ids.iter().filter_map(|id| KeyId::parse(id).ok()).collect();
                Shown { kind: KeyKind::Imported, ids, issued: None }
            }
        };
        let (found, cache) = self.row(tenant.nid, house, &shown, question.freshness, now).await;
        let row = match found {
            Ok(Some(row)) => row,
            Ok(None) => return Verdict::no(Denied::because(VerificationError::NotFound), cache),
            Err(denied) => return Verdict::no(denied, cache),
        };
        match admitted_key(&row, house, &shown, &question, now) {
            Ok(()) => good(Subject::Key(row), cache),
            Err(denied) => Verdict::no(denied, cache),
        }
    }

    /// The row of a key: from memory, where that is allowed and knows it.
    async fn row(
        &self,
        nid: Nid,
        house: &House,
        shown: &Shown<'_>,
        freshness: Freshness,
        now: Timestamp,
    ) -> (Result<Option<Arc<Row>>, Denied>, CacheUse) {
        let Some(first) = shown.ids.first() else { return (Ok(None), CacheUse::Skip) };
        let cache = &house.settings.cache;
        let caches = cache.enabled && cache.kind != CacheKind::None && !cache.ttl.is_zero();
        let reads_memory = caches && freshness == Freshness::Cached;
        let cache_use = if reads_memory { CacheUse::Miss } else { CacheUse::Skip };
        if reads_memory {
            match self.0.rows.known(nid, first, now) {
                Known::Present(row) => return (Ok(Some(row)), CacheUse::Hit),
                Known::Absent => return (Ok(None), CacheUse::Hit),
                Known::Unknown => {}
            }
        }
        let reading = self.0.rows.reading(nid, first);
        let Ok(row) = self.0.rows.read(nid, shown.kind, shown.ids.clone()).await else {
            return (Err(Denied::because(VerificationError::Internal)), cache_use);
        };
        // A key that is kept under another id than the likeliest is looked up each time: its changes name that id.
        let keeps = row.as_ref().is_none_or(|row| row.key.key_id == *first);
        if caches && keeps && freshness != Freshness::NoStore {
            let ttl_ms = i64::try_from(cache.ttl.as_millis()).unwrap_or(i64::MAX);
            let end = row.as_ref().and_then(|row| row.key.expires).unwrap_or(Timestamp(i64::MAX));
            self.0.rows.keep(reading, row.as_ref(), now.plus_ms(ttl_ms).min(end), now);
        }
        (Ok(row), cache_use)
    }

    /// Counts a use of a good key, which its rate limit may refuse.
    fn counted(&self, tenant: &Tenant, mut verdict: Verdict) -> Verdict {
        let Some(Subject::Key(row)) = &verdict.subject else { return verdict };
        let now = self.0.parts.clock.now();
        if row.used_first(now) {
            self.0.uses.note(tenant.nid, row.key.kind, &row.key.key_id, now);
        }
        let limit = row.key.rate_limit.filter(|_| tenant.keys.rate_limit_enabled);
        let Some(limit) = limit.and_then(|limit| RateLimit::new(limit.quota, limit.window_s)) else {
            return verdict;
        };
        let cell = self.0.limits.cell(tenant.nid, &row.key.key_id);
        let rate: RateVerdict = cell.take(limit, self.0.parts.clock.monotonic_ns());
        if !rate.allowed {
            verdict.denied = Some(Denied::because(VerificationError::RateLimited));
        }
        verdict.rate = Some(rate);
        verdict
    }
}

fn good(subject: Subject, cache: CacheUse) -> Verdict {
    Verdict { subject: Some(subject), denied: None, cache, rate: None }
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
    if let Some(issued) = &shown.issued {
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
    let from_there = |address: IpAddr| row.networks.iter().any(|network| network.contains(address));
    let restricted = !question.any_address && !key.allowed_cidrs.is_empty();
    if restricted && !question.address.is_some_and(from_there) {
        return Err(Denied::because(VerificationError::IpNotAllowed));
    }
    // A key names no audience, so it is good only where none is asked for.
    if !question.audiences.is_empty() {
        return Err(Denied::because(VerificationError::AudienceMismatch));
    }
    Ok(())
}

fn admitted_token(token: TokenSubject, question: &Question<'_>) -> Result<TokenSubject, Denied> {
    if !question.any_address && !token.narrowed.admits_address(question.address) {
        return Err(Denied::because(VerificationError::IpNotAllowed));
    }
    if !token.narrowed.admits_audience(question.audiences) {
        return Err(Denied::because(VerificationError::AudienceMismatch));
    }
    Ok(token)
}
