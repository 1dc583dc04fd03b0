//! Exact token counts for the model families whose tokeniser is public.

use bh_app::ports::Tokenizer;
use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// OpenAI's public tokenisers. Their tables (some 30 MiB each) are built when first needed, and only a budget that
/// runs short needs them.
#[derive(Debug, Default)]
pub struct PublicTokenizers;

const CL100K_FAMILIES: [&str; 4] = ["gpt-4-", "gpt-3.5", "gpt-35", "text-embedding"];

fn tokenizer(model: &str) -> Option<&'static CoreBPE> {
    let base = model.rsplit('/').next().unwrap_or(model);
    if base == "gpt-4" || CL100K_FAMILIES.iter().any(|family| base.starts_with(family)) {
        return Some(cl100k_base_singleton());
    }
    let reasoning = base.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let newer = base.starts_with("gpt-") || base.starts_with("chatgpt-") || base.starts_with("codex-");
    (reasoning || newer).then(o200k_base_singleton)
}

impl Tokenizer for PublicTokenizers {
    fn count(&self, model: &str, text: &str) -> Option<u64> {
        let tokens = tokenizer(model)?.encode_ordinary(text).len();
        u64::try_from(tokens).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_families_are_counted_and_others_are_not() {
        let tokenizers = PublicTokenizers;
        assert_eq!(tokenizers.count("gpt-4o-mini", "hello world"), Some(2));
        assert_eq!(tokenizers.count("gpt-4", "hello world"), Some(2));
        assert_eq!(tokenizers.count("o3-mini", "hello world"), Some(2));
        assert_eq!(tokenizers.count("claude-sonnet-5", "hello world"), None);
        assert_eq!(tokenizers.count("olmo", "hello world"), None);
    }
}
