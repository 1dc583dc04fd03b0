//! Token counts in one normal form, whatever the wire calls them.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a call is billed for, in tokens. No token is in two of `input`, `cache_read`, `cache_write` and `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Usage {
    /// Input tokens billed at the input rate: neither read from nor written to a prompt cache.
    pub input: u64,
    /// Generated tokens, reasoning included.
    pub output: u64,
    /// Input tokens served from a prompt cache.
    pub cache_read: u64,
    /// Input tokens written to a prompt cache, whatever their lifetime.
    pub cache_write: u64,
    /// The part of `cache_write` kept for an hour, which Anthropic bills above the five-minute rate.
    pub cache_write_1h: u64,
    /// The part of `output` spent on reasoning, priced apart where a reasoning price exists.
    pub reasoning: u64,
}

impl Usage {
    /// All tokens of the call.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output)
    }

    /// All tokens the model read, cached or not.
    #[must_use]
    pub fn input_total(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}

/// Reads the `usage` object of a plain OpenAI answer: chat, legacy completions, Responses or embeddings.
/// `None` when it lacks the counts that make a price.
#[must_use]
pub fn openai(usage: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<OpenAiUsage>(usage).ok()?.normal()
}

/// Reads the `usage` object of a plain Anthropic message.
#[must_use]
pub fn anthropic(usage: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<AnthropicUsage>(usage).ok()?.normal()
}

/// The `usage` object of every OpenAI endpoint; each uses some of these names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OpenAiUsage {
    prompt_tokens: Count,
    input_tokens: Count,
    completion_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Option<InputDetails>,
    input_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    output_tokens_details: Option<OutputDetails>,
    /// DeepSeek's spelling of cached tokens.
    prompt_cache_hit_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
}

impl OpenAiUsage {
    /// OpenAI counts cached tokens inside the input; they are taken out here.
    pub(crate) fn normal(&self) -> Option<Usage> {
        let input = self.prompt_tokens.0.or(self.input_tokens.0)?;
        let total = self.total_tokens.0.map(|total| total.saturating_sub(input));
        let output = self.completion_tokens.0.or(self.output_tokens.0).or(total)?;
        let details = self.prompt_tokens_details.as_ref().or(self.input_tokens_details.as_ref());
        let cached = details.and_then(|d| d.cached_tokens.0).or(self.prompt_cache_hit_tokens.0);
        let written = details.and_then(|d| d.cache_write_tokens.0);
        let reasoning = self.completion_tokens_details.as_ref().or(self.output_tokens_details.as_ref());
        // Parts can't exceed their whole, whatever a provider says: a part that did would be billed twice.
        let cache_read = cached.unwrap_or(0).min(input);
        let cache_write = written.unwrap_or(0).min(input - cache_read);
        Some(Usage {
            input: input - cache_read - cache_write,
            output,
            cache_read,
            cache_write,
            cache_write_1h: 0,
            reasoning: reasoning.and_then(|d| d.reasoning_tokens.0).unwrap_or(0).min(output),
        })
    }
}

/// The `usage` object of Anthropic messages and of their stream events, which repeat some of the counts.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AnthropicUsage {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<ThinkingDetails>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Count,
    ephemeral_1h_input_tokens: Count,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct ThinkingDetails {
    thinking_tokens: Count,
}

impl AnthropicUsage {
    /// Takes over what a later event says; its counts are cumulative.
    pub(crate) fn update(&mut self, later: Self) {
        self.input_tokens.update(later.input_tokens);
        self.output_tokens.update(later.output_tokens);
        self.cache_read_input_tokens.update(later.cache_read_input_tokens);
        self.cache_creation_input_tokens.update(later.cache_creation_input_tokens);
        self.cache_creation = later.cache_creation.or(self.cache_creation);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }

    pub(crate) fn normal(&self) -> Option<Usage> {
        let output = self.output_tokens.0?;
        let split = self.cache_creation.unwrap_or_default();
        let one_hour = split.ephemeral_1h_input_tokens.0.unwrap_or(0);
        let five_minutes = split.ephemeral_5m_input_tokens.0.unwrap_or(0);
        let by_lifetime = one_hour.saturating_add(five_minutes);
        let cache_write = self.cache_creation_input_tokens.0.unwrap_or(0).max(by_lifetime);
        let thinking = self.output_tokens_details.and_then(|details| details.thinking_tokens.0);
        Some(Usage {
            input: self.input_tokens.0?,
            output,
            cache_read: self.cache_read_input_tokens.0.unwrap_or(0),
            cache_write,
            cache_write_1h: one_hour,
            reasoning: thinking.unwrap_or(0).min(output),
        })
    }
}

/// A token count that tolerates what compatible servers put there; anything but a non-negative integer is no count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Option<u64>);

impl Count {
    fn update(&mut self, later: Self) {
        self.0 = later.0.or(self.0);
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a token count")
    }

    fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
        Ok(Count(Some(count)))
    }

    fn visit_i64<E>(self, count: i64) -> Result<Count, E> {
        Ok(Count(u64::try_from(count).ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_usage_takes_cached_tokens_out_of_the_input() {
        let json = br#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
            "prompt_tokens_details":{"cached_tokens":60,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":12}}"#;
        let expected = Usage { input: 40, output: 20, cache_read: 60, reasoning: 12, ..Usage::default() };
        assert_eq!(openai(json), Some(expected));
        assert_eq!((expected.total(), expected.input_total()), (120, 100));
    }

    #[test]
    fn responses_usage_reads_cache_writes_too() {
        let json = br#"{"input_tokens":100,"output_tokens":9,"total_tokens":109,
            "input_tokens_details":{"cached_tokens":10,"cache_write_tokens":30},
            "output_tokens_details":{"reasoning_tokens":4}}"#;
        let expected =
            Usage { input: 60, output: 9, cache_read: 10, cache_write: 30, reasoning: 4, ..Usage::default() };
        assert_eq!(openai(json), Some(expected));
    }

    #[test]
    fn embeddings_have_no_output() {
        let json = br#"{"prompt_tokens":8,"total_tokens":8}"#;
        assert_eq!(openai(json), Some(Usage { input: 8, ..Usage::default() }));
    }

    #[test]
    fn anthropic_usage_keeps_cache_lifetimes_apart() {
        let json = br#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":11,
            "cache_creation_input_tokens":30,
            "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"service_tier":"x"}"#;
        let expected =
            Usage { input: 5, output: 7, cache_read: 11, cache_write: 30, cache_write_1h: 20, reasoning: 0 };
        assert_eq!(anthropic(json), Some(expected));
    }

    #[test]
    fn odd_counts_are_absent_and_parts_never_exceed_the_whole() {
        assert_eq!(openai(br#"{"prompt_tokens":"8","completion_tokens":1}"#), None);
        assert_eq!(openai(br#"{"prompt_tokens":null,"completion_tokens":[1,{}]}"#), None);
        assert_eq!(openai(b"null"), None);
        assert_eq!(anthropic(br#"{"input_tokens":-1,"output_tokens":1.5}"#), None);
        let json = br#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9},
            "completion_tokens_details":{"reasoning_tokens":9}}"#;
        let expected = Usage { input: 0, output: 1, cache_read: 5, reasoning: 1, ..Usage::default() };
        assert_eq!(openai(json), Some(expected));
        let json = br#"{"input_tokens":5,"output_tokens":0,
            "input_tokens_details":{"cached_tokens":3,"cache_write_tokens":9}}"#;
        assert_eq!(openai(json), Some(Usage { cache_read: 3, cache_write: 2, ..Usage::default() }));
    }
}
