//! Who calls, and whether the call fits: key, policy, rate, budget.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use memchr::memmem::Finder;
use sha2::{Digest, Sha256};

use crate::{Mode, State};

pub type KeyDigest = [u8; 32];
pub type Keys = HashMap<KeyDigest, Key>;

/// Far above what any run reaches: the checks are made, and pass.
const UNREACHED_RATE: f64 = 1e9;
const UNREACHED_BUDGET_MICRO: i64 = i64::MAX / 4;
const TENANTS: u32 = 100;
const INPUT_MICRO_PER_TOKEN: i64 = 3;
const OUTPUT_MICRO_PER_TOKEN: i64 = 15;
const OUTPUT_TOKENS_DEFAULT: u32 = 1024;

/// One caller's key and what it may use.
pub struct Key {
    tenant: u32,
    tokens: f64,
    refilled_at: Instant,
    tokens_per_s: f64,
    burst: f64,
    budget_micro: i64,
    models: Vec<String>,
}

/// Words that no prompt may hold.
pub struct Policy {
    denied: Vec<Finder<'static>>,
}

impl Default for Policy {
    fn default() -> Self {
        let words = ["BEGIN PRIVATE KEY", "AKIA", "ignore previous instructions", "xoxb-"];
        Self { denied: words.iter().map(|word| Finder::new(*word)).collect() }
    }
}

/// A call that was let in, with the money held for it.
pub struct Admitted {
    key: KeyDigest,
    reserved_micro: i64,
    pub tenant: u32,
    pub model: String,
    pub request_sha256: [u8; 32],
}

/// Tokens the upstream says were used.
#[derive(serde::Deserialize, Default, Clone, Copy)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Usage {
    pub fn cost_micro(self) -> i64 {
        self.prompt_tokens as i64 * INPUT_MICRO_PER_TOKEN
            + self.completion_tokens as i64 * OUTPUT_MICRO_PER_TOKEN
    }
}

#[derive(serde::Deserialize)]
struct ChatRequest<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(default)]
    #[allow(dead_code, reason = "a gateway reads it; so does the cost model")]
    stream: bool,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(serde::Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
}

/// `sk-rig-00000000` and its neighbours.
pub fn keys(count: u32) -> Keys {
    let now = Instant::now();
    let key = |index: u32| Key {
        tenant: index % TENANTS,
        tokens: UNREACHED_RATE,
        refilled_at: now,
        tokens_per_s: UNREACHED_RATE,
        burst: UNREACHED_RATE,
        budget_micro: UNREACHED_BUDGET_MICRO,
        models: vec!["gpt-x".to_owned(), "mock-model".to_owned()],
    };
    (0..count).map(|index| (Sha256::digest(format!("sk-rig-{index:08}")).into(), key(index))).collect()
}

/// The digest of a bearer key that is known.
pub fn authenticate(state: &State, bearer: &[u8]) -> Option<KeyDigest> {
    let digest: KeyDigest = Sha256::digest(bearer).into();
    state.keys.lock().unwrap().contains_key(&digest).then_some(digest)
}

/// Reads the request, checks it, and holds money for it; the status and the reason when it is refused.
pub fn admit(state: &State, digest: KeyDigest, body: &[u8]) -> Result<Admitted, (u16, &'static str)> {
    let request: ChatRequest<'_> = serde_json::from_slice(body).map_err(|_| (400, "bad json"))?;
    let texts = request.messages.iter().filter_map(|message| message.content.as_ref());
    for text in texts {
        if state.policy.denied.iter().any(|word| word.find(text.as_bytes()).is_some()) {
            return Err((403, "denied by policy"));
        }
    }
    let mut keys = state.keys.lock().unwrap();
    let key = keys.get_mut(&digest).ok_or((401, "unknown key"))?;
    if !key.models.iter().any(|model| *model == request.model) {
        return Err((403, "model not allowed"));
    }
    take_token(key)?;
    let output_tokens = i64::from(request.max_tokens.unwrap_or(OUTPUT_TOKENS_DEFAULT));
    let reserved_micro =
        (body.len() as i64 / 4) * INPUT_MICRO_PER_TOKEN + output_tokens * OUTPUT_MICRO_PER_TOKEN;
    if key.budget_micro < reserved_micro {
        return Err((402, "budget"));
    }
    key.budget_micro -= reserved_micro;
    let request_sha256 = if state.mode >= Mode::Chain { Sha256::digest(body).into() } else { [0; 32] };
    let (tenant, model) = (key.tenant, request.model.into_owned());
    Ok(Admitted { key: digest, reserved_micro, tenant, model, request_sha256 })
}

fn take_token(key: &mut Key) -> Result<(), (u16, &'static str)> {
    let now = Instant::now();
    key.tokens = (key.tokens + (now - key.refilled_at).as_secs_f64() * key.tokens_per_s).min(key.burst);
    key.refilled_at = now;
    if key.tokens < 1.0 {
        return Err((429, "rate limit"));
    }
    key.tokens -= 1.0;
    Ok(())
}

/// Gives back what was held beyond the real cost.
pub fn settle(state: &State, admitted: &Admitted, usage: Usage) {
    if let Some(key) = state.keys.lock().unwrap().get_mut(&admitted.key) {
        key.budget_micro += admitted.reserved_micro - usage.cost_micro();
    }
}
