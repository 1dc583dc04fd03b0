//! Where a tenant's server is, and what it is shown.

use bh_domain::audit::redact::REDACTED;
use bh_domain::hash::sha256;
use bh_domain::tenant::Nid;
use http::{HeaderValue, Uri};
use uuid::Uuid;

use super::client::first_words;

/// A server to be asked.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Whose.
    pub(super) nid: Nid,
    /// Which deployment of it.
    pub(super) deployment: Uuid,
    /// Where.
    pub(super) uri: Uri,
    /// What it is shown, marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
    /// There is a credential, and this is not where it is shown.
    pub(super) is_withheld: bool,
}

impl Place {
    /// A server's words without the credential that it was shown, and cut.
    pub(super) fn without_credential(&self, words: &str) -> String {
        let shown = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        let token = shown
            .and_then(|value| value.split_once(' '))
            .map(|(_, token)| token)
            .filter(|token| !token.is_empty());
        first_words(&token.map_or_else(|| words.to_owned(), |token| words.replace(token, REDACTED)))
    }

    /// SHA-256 of what the server is shown.
    pub(super) fn identity(&self) -> [u8; 32] {
        sha256(self.authorization.as_ref().map(HeaderValue::as_bytes).unwrap_or_default())
    }
}
