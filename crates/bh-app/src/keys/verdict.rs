//! What is said of a credential.

use std::sync::Arc;

use bh_domain::keys::key::KeyId;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::limit::RateVerdict;

use super::counting::LimitTold;
use super::credits::CreditsTold;
use super::identities::IdentityRow;
use super::rows::Row;
use super::tokens::TokenSubject;

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As it is in memory.
    #[default]
    Cached,
    /// Read from the store, and kept.
    NoCache,
    /// Read from the store, and not kept.
    NoStore,
}

/// Whether memory answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// It did.
    Hit,
    /// It did not know.
    Miss,
    /// It was not asked.
    Skip,
}

impl CacheUse {
    /// As the header `Ory-Talos-Cache` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Skip => "SKIP",
        }
    }
}

/// Why a credential is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The code.
    pub code: VerificationError,
    /// The sentence.
    pub message: String,
}

impl Denied {
    pub(crate) fn because(code: VerificationError) -> Self {
        Self { code, message: code.message().to_owned() }
    }

    pub(super) fn saying(code: VerificationError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Whose credential it is.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A key's.
    Key(Arc<Row>),
    /// A derived token's.
    Token(Arc<TokenSubject>),
}

/// What is said of a credential.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whose it is: only when it is good, or good but used too often.
    pub subject: Option<Subject>,
    /// `None` when it is good.
    pub denied: Option<Denied>,
    /// Whether memory answered.
    pub cache: CacheUse,
    /// What its rate limit said, when there is one and it holds.
    pub rate: Option<RateVerdict>,
    /// What each of the named limits said that hold for this use.
    pub limits: Vec<LimitTold>,
    /// What is left of its credits, when it has some that were counted.
    pub credits: Option<CreditsTold>,
    /// The identity that its key belongs to; of a token only where its key was looked at.
    pub identity: Option<Arc<IdentityRow>>,
    /// The key that a token was counted on.
    pub(super) parent: Option<Arc<Row>>,
    /// The key that a credential which is not good names, where that is known: for the audit trail, never for clients.
    pub(super) suspect: Option<KeyId>,
}

impl Verdict {
    pub(super) fn no(denied: Denied, cache: CacheUse) -> Self {
        Self { denied: Some(denied), ..Self::undecided(cache) }
    }

    pub(super) fn undecided(cache: CacheUse) -> Self {
        Self {
            subject: None,
            denied: None,
            cache,
            rate: None,
            limits: Vec::new(),
            credits: None,
            identity: None,
            parent: None,
            suspect: None,
        }
    }

    /// The same, of a credential that names this key.
    pub(super) fn naming(self, key_id: Option<KeyId>) -> Self {
        Self { suspect: key_id, ..self }
    }

    /// The key that the credential names, as far as that is known.
    pub(super) fn key_id(&self) -> Option<&str> {
        match &self.subject {
            Some(Subject::Key(row)) => Some(row.key.key_id.as_str()),
            Some(Subject::Token(token)) => token.narrowed.claims().key_id.as_deref(),
            None => self.suspect.as_ref().map(KeyId::as_str),
        }
    }

    /// How long to wait until the limits that refused would not any more, in nanoseconds; 0 when none did, or when no
    /// waiting helps.
    #[must_use]
    pub fn retry_after_ns(&self) -> u64 {
        let named = self.limits.iter().map(|told| told.verdict.retry_after_ns);
        let mut waits = named.chain(self.rate.map(|rate| Some(rate.retry_after_ns)));
        let longest = waits.try_fold(0_u64, |longest, wait| Some(longest.max(wait?)));
        longest.unwrap_or(0)
    }

    /// Whether the credential is good.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.denied.is_none()
    }
}
