//! What an answer came to: tokens, model, hash, for its record.

use aws_lc_rs::digest::Context as Hasher;
use bh_domain::price::TokenCounts;
use bh_wire::{Family, Usage};
use bytes::BytesMut;

use super::super::close::{Ending, Outcome};
use super::super::ticket::{EMPTY_SHA256, OpenCall};
use super::{AnswerBody, Watch};
use crate::recorder::Receipt;

/// Bytes of a plain answer per token, when its provider tells no usage.
const BYTES_PER_TOKEN: u64 = 4;

impl AnswerBody {
    /// Puts the end of the call on the record; `None` when that has been done or nobody needs to wait.
    pub(super) fn close(&mut self, ending: Ending) -> Option<Receipt> {
        let call = self.call.take()?;
        let (tokens, estimated, model) = self.used(&call);
        let failed = ending == Ending::ProviderError && self.http_status >= 400;
        let outcome = Outcome {
            choice: self.choice.clone(),
            model,
            http_status: Some(self.http_status),
            tokens: if failed { TokenCounts::default() } else { tokens },
            estimated: estimated && !failed,
            output_hash: self.hash.take().map_or(EMPTY_SHA256, finished),
            ttft_ms: self.ttft_ms,
            ending,
            answer: self.kept.take().map(BytesMut::freeze),
        };
        call.finish(outcome)
    }

    /// Tokens used so far, whether they are an estimate, and the model that answered.
    fn used(&mut self, call: &OpenCall) -> (TokenCounts, bool, Option<String>) {
        let ticket = call.ticket();
        match std::mem::replace(&mut self.watch, Watch::Plain(Box::default())) {
            Watch::Stream(watcher) => {
                let outcome = watcher.finish();
                let (usage, estimated) = outcome.progress.usage_or_estimate(ticket.input_estimate);
                let metered = ticket.endpoint.is_metered();
                (
                    if metered { counts(usage) } else { TokenCounts::default() },
                    estimated && metered,
                    outcome.model,
                )
            }
            Watch::Plain(scanner) => {
                let found = scanner.finish();
                let family: Family = self.choice.provider.family;
                match found.usage(family, ticket.endpoint) {
                    Some(usage) => (counts(usage), false, found.model()),
                    None if ticket.endpoint.is_metered() => {
                        let output = self.plain_bytes.div_ceil(BYTES_PER_TOKEN);
                        let guess =
                            TokenCounts { input: ticket.input_estimate, output, ..TokenCounts::default() };
                        (guess, true, found.model())
                    }
                    None => (TokenCounts::default(), false, found.model()),
                }
            }
        }
    }
}

fn finished(hasher: Hasher) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(hasher.finish().as_ref());
    hash
}

pub(super) fn counts(usage: Usage) -> TokenCounts {
    let Usage { input, output, cache_read, cache_write, reasoning, .. } = usage;
    TokenCounts { input, output, cache_read, cache_write, reasoning }
}
