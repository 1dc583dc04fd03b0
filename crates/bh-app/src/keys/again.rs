//! Keys of requests that are made again: what such a request has made is told again, and nothing more is made.

use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::refusal::{Code, Refusal};
use secrecy::SecretString;

use super::issue::drawn;
use super::{Asker, KeyStory, internal};
use crate::ports::Entropy;

/// How long after it a request is taken for a repetition.
pub(crate) const REPEATED_WITHIN_MS: i64 = 24 * 60 * 60 * 1_000;

impl KeyStory {
    /// The key that this made, and its text. `again` begins with the same bytes as `entropy`.
    ///
    /// # Errors
    /// `conflict` when the name of the request is used up: it made a key with another body, a day ago, or one that was
    /// deleted since; `evidence_unavailable`.
    pub(crate) async fn made_from(
        &self,
        asker: &Asker,
        entropy: &dyn Entropy,
        again: &dyn Entropy,
    ) -> Result<Option<(Key, SecretString)>, Refusal> {
        let (id, _) = drawn(entropy);
        let id = KeyId::parse(&id.hyphenated().to_string());
        let id = id.map_err(|error| internal("name a key again", &error))?;
        let Some(key) = self.row_or_trace(asker, &id).await? else { return Ok(None) };
        let Some(text) = self.text_of(asker, &key, again)? else {
            return Err(used_up("had another body"));
        };
        if key.created.plus_ms(REPEATED_WITHIN_MS) < self.0.parts.clock.now() {
            return Err(used_up("was made more than a day ago"));
        }
        asker.origin.untold();
        Ok(Some((key, text)))
    }

    /// The key with this id, if there ever was one. One that was deleted must not come to life by a request that comes late.
    async fn row_or_trace(&self, asker: &Asker, id: &KeyId) -> Result<Option<Key>, Refusal> {
        if let Some(key) = self.row_of(asker, id).await? {
            return Ok(Some(key));
        }
        let known = self.0.parts.trail.knows(asker.scope(), id.as_str()).await;
        if !known.map_err(|fault| fault.refusal())? {
            return Ok(None);
        }
        // Made in between, or gone.
        let made = self.row_of(asker, id).await?;
        made.map(Some).ok_or_else(|| used_up("made a key that was deleted"))
    }

    async fn row_of(&self, asker: &Asker, id: &KeyId) -> Result<Option<Key>, Refusal> {
        let found = self.0.parts.store.keys(asker.scope(), KeyKind::Issued, vec![id.clone()]).await;
        Ok(found.map_err(|fault| fault.refusal())?.pop())
    }
}

/// A name that stands for another request.
pub(crate) fn used_up(what: &str) -> Refusal {
    let message =
        format!("An earlier request with this `Idempotency-Key` {what}: give this one a key of its own");
    Refusal::new(Code::Conflict, message).with("field", "Idempotency-Key")
}
