//! Requests that a client names, so that it may make them again (`Idempotency-Key`): what they make follows from them, so
//! that any process can tell it again and nobody has to keep it.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::TenantId;
use serde_json::{Map, Value};

use super::Actor;
use crate::ports::Entropy;

/// The longest name of a request, in bytes.
const NAME_BYTES_MAX: usize = 255;

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

/// A request that its client has named, with its body.
#[derive(Clone, Copy, Debug)]
pub struct NamedRequest<'r> {
    /// Its name.
    pub name: &'r RequestName,
    /// Its body, as it was sent.
    pub given: &'r Map<String, Value>,
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

    /// What a request of an operator makes a tenant's first key from. Another body is another request, whatever its name.
    pub(super) fn of_tenant(
        &self,
        actor: &Actor,
        name: &RequestName,
        id: &str,
        given: &Map<String, Value>,
    ) -> Chance {
        let key = self.key(&[&actor.name, &name.0, id, &text_of(given)]);
        Chance { id: key.clone(), rest: key, blocks: AtomicU64::new(0) }
    }

    /// What a request of an operator about a tenant's key makes this from. Its id follows from the name alone, so that
    /// another request of that name is found out; everything else from the body too.
    pub(super) fn of_key(
        &self,
        actor: &Actor,
        verb: &str,
        tenant: &TenantId,
        named: NamedRequest<'_>,
    ) -> Chance {
        let NamedRequest { name, given } = named;
        let id = self.key(&[&actor.name, &name.0, verb, tenant.as_str()]);
        let rest = self.key(&[&actor.name, &name.0, verb, tenant.as_str(), &text_of(given)]);
        Chance { id, rest, blocks: AtomicU64::new(0) }
    }

    /// A key from parts, none of which can be taken for another's end.
    fn key(&self, parts: &[&str]) -> hmac::Key {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
    }
}

fn text_of(given: &Map<String, Value>) -> String {
    Value::Object(given.clone()).to_string()
}

/// Bytes that follow from a request, and that nobody can tell from random ones. The first block is the id of what is made.
pub(super) struct Chance {
    id: hmac::Key,
    rest: hmac::Key,
    blocks: AtomicU64,
}

impl Chance {
    /// The same bytes, from the beginning.
    pub(super) fn again(&self) -> Self {
        Self { id: self.id.clone(), rest: self.rest.clone(), blocks: AtomicU64::new(0) }
    }
}

impl Entropy for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(hmac::HMAC_SHA256.digest_algorithm().output_len()) {
            let block = self.blocks.fetch_add(1, Ordering::Relaxed);
            let key = if block == 0 { &self.id } else { &self.rest };
            let tag = hmac::sign(key, &block.to_be_bytes());
            part.iter_mut().zip(tag.as_ref()).for_each(|(byte, chance)| *byte = *chance);
        }
    }
}
