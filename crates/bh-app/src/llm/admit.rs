//! Admission: an upper bound of the call's cost is held in every budget it falls under, or the call ends here.

use bh_domain::budget::{Owner, Period};
use bh_domain::money::NanoUsd;
use bh_domain::refusal::{Code, Refusal};
use bh_wire::prompt::extract_text;
use bh_wire::request::RequestFacts;

use super::Parts;
use super::read::{Asked, AskedBody};
use super::route::Choice;
use super::ticket::{BudgetState, Ticket};
use crate::budgets::{NoBudget, Short};
use crate::snapshot::Capped;

/// While a budget has room for this many calls like the present one, the bound by bytes is good enough. Below it,
/// every call is counted exactly, so that near the cap what fits is admitted and nothing else.
const ROOMY_CALLS: i64 = 64;
/// The most one image costs with the models in use, in input tokens.
const IMAGE_TOKENS_MAX: u64 = 25_600;
/// Audio is far below one token in this many encoded bytes.
const AUDIO_BYTES_PER_TOKEN: u64 = 64;
/// Bodies above this are tokenised off the request threads.
const TOKENISE_INLINE_BYTES_MAX: usize = 64 * 1024;
/// Framing that a provider may put round a prompt beyond what its text accounts for.
const FRAMING_TOKENS: u64 = 64;
/// Bytes per token when the provider tells no input count and the text was not tokenised.
const BYTES_PER_TOKEN: u64 = 4;

/// A call whose money is held (on its ticket, which releases it when dropped). Only [`admit`] makes one.
pub(super) struct Admitted {
    pub(super) asked: Asked,
    pub(super) choices: Vec<Choice>,
    pub(super) budgets: Vec<Capped>,
}

/// Holds the call's upper bound at the dearest candidate's price.
pub(super) async fn admit(
    parts: &Parts,
    ticket: &mut Ticket,
    asked: Asked,
    choices: Vec<Choice>,
) -> Result<Admitted, Refusal> {
    let budgets = budgets_of(parts, ticket);
    let outcome = match &asked.body {
        AskedBody::Read { .. } if !ticket.endpoint.is_metered() => {
            parts.budgets.hold(Vec::new(), NanoUsd::ZERO).await
        }
        AskedBody::Read { bytes, facts } => {
            let output = output_bound(ticket, facts);
            let loose = input_by_bytes(facts);
            ticket.input_estimate = loose.div_ceil(BYTES_PER_TOKEN);
            let remote = remote_bound(ticket, facts);
            let amount = dearest(ticket, &choices, loose.saturating_add(remote), output);
            let roomy = budgets.iter().all(|b| b.cell.room(b.cap) >= amount.times(ROOMY_CALLS));
            let first = if roomy { parts.budgets.hold(budgets.clone(), amount).await.ok() } else { None };
            match first {
                Some(hold) => Ok(hold),
                None => {
                    let exact =
                        input_by_tokens(parts, ticket, &choices, bytes.clone(), facts).await.unwrap_or(loose);
                    ticket.input_estimate = exact.min(ticket.input_estimate);
                    let input = exact.min(loose).saturating_add(remote);
                    let amount = dearest(ticket, &choices, input, output);
                    ticket.reserved = amount;
                    parts.budgets.hold(budgets.clone(), amount).await
                }
            }
        }
        // What an unmetered path costs is not known beforehand; it must at least not start on an empty budget.
        AskedBody::Passing(_) => parts.budgets.hold(budgets.clone(), NanoUsd(1)).await,
        AskedBody::Empty => parts.budgets.hold(Vec::new(), NanoUsd::ZERO).await,
    };
    let hold = outcome.map_err(|no| refusal_of(ticket, no))?;
    ticket.reserved = hold.amount();
    ticket.holds.push(hold);
    Ok(Admitted { asked, choices, budgets })
}

fn budgets_of(parts: &Parts, ticket: &Ticket) -> Vec<Capped> {
    let caller = &ticket.caller;
    let mut budgets = caller.budgets.clone();
    if let (Some(cap), Some(id)) = (caller.caps.session, &ticket.session_id) {
        let owner = Owner::Session { caller: caller.name.clone(), id: id.clone() };
        let cell = parts.budgets.cell(caller.tenant.nid, owner, Period::Session, &caller.tenant.clock);
        budgets.push(Capped { cap, cell });
    }
    budgets
}

fn output_bound(ticket: &Ticket, facts: &RequestFacts) -> u64 {
    if ticket.endpoint == bh_wire::Endpoint::Embeddings {
        return 0;
    }
    facts
        .output_tokens_max()
        .unwrap_or_else(|| ticket.snapshot.default_output_tokens.saturating_mul(facts.choices))
}

/// What the provider may read beyond the request: results of tools it runs itself, and context it keeps.
fn remote_bound(ticket: &Ticket, facts: &RequestFacts) -> u64 {
    if facts.hosted_tools || facts.remote_context { ticket.snapshot.remote_input_tokens } else { 0 }
}

fn media_bound(facts: &RequestFacts) -> u64 {
    let media = &facts.media;
    let audio = media.payload_bytes.saturating_sub(media.document_payload_bytes) / AUDIO_BYTES_PER_TOKEN;
    let audio = if media.audio > 0 { audio } else { 0 };
    media.images * IMAGE_TOKENS_MAX + media.document_payload_bytes + audio
}

/// No tokeniser in use makes more than one token of a byte.
fn input_by_bytes(facts: &RequestFacts) -> u64 {
    facts.text_bytes_max + media_bound(facts)
}

/// The text, counted by the model's own tokeniser, where that is public.
async fn input_by_tokens(
    parts: &Parts,
    ticket: &Ticket,
    choices: &[Choice],
    body: bytes::Bytes,
    facts: &RequestFacts,
) -> Option<u64> {
    let model = choices.first()?.model(ticket.requested_model.as_deref())?.to_owned();
    let tokenizer = std::sync::Arc::clone(&parts.tokenizer);
    let size = body.len();
    let count = move || {
        let mut total = Some(0_u64);
        let walked = extract_text(&body, &mut |text| {
            total = total.and_then(|sum| Some(sum + tokenizer.count(&model, &text)?));
        });
        walked.ok().and(total)
    };
    let text = if size <= TOKENISE_INLINE_BYTES_MAX {
        count()
    } else {
        tokio::task::spawn_blocking(count).await.ok()?
    };
    Some(text? + FRAMING_TOKENS + media_bound(facts))
}

fn dearest(ticket: &Ticket, choices: &[Choice], input: u64, output: u64) -> NanoUsd {
    let prices = &ticket.snapshot.prices;
    let cost = |choice: &Choice| {
        let model = choice.model(ticket.requested_model.as_deref()).unwrap_or_default();
        prices.find(&choice.provider.id, model).0.cost_bound(input, output)
    };
    choices.iter().map(cost).max().unwrap_or_default()
}

/// A budget that said no, in words and in the record.
pub(super) fn refusal_of(ticket: &mut Ticket, no: NoBudget) -> Refusal {
    let short = match no {
        NoBudget::Short(short) => short,
        NoBudget::Fault(fault) => {
            tracing::error!(error = &fault as &dyn std::error::Error, "budgets cannot be leased");
            return Refusal::new(Code::EvidenceUnavailable, "Budgets cannot be read right now; try again")
                .retry_after(1);
        }
    };
    ticket.budget = Some(BudgetState {
        period: short.period,
        limit: short.cap,
        spent: short.cap - short.left,
        estimate: ticket.reserved,
    });
    let (code, whose) = words(&short);
    let currency = &ticket.snapshot.currency;
    let message = format!(
        "{}: the {whose} cost limit of {} {currency} does not hold this call: {} {currency} left, up to {} {currency} needed",
        code.as_str(),
        short.cap,
        short.left,
        ticket.reserved,
    );
    let mut refusal = Refusal::new(code, message)
        .with("limit", short.cap.to_string())
        .with("remaining", short.left.to_string())
        .with("needed", ticket.reserved.to_string())
        .with("currency", currency.clone())
        .with("budget", whose);
    if let Some(ends) = short.ends {
        refusal = refusal.with("window_ends_at", ends.rfc3339());
    }
    refusal
}

fn words(short: &Short) -> (Code, String) {
    let owner = match &short.owner {
        Owner::Caller(_) => "caller",
        Owner::Tenant => "tenant",
        Owner::Organization => "organization",
        Owner::Session { .. } => return (Code::SessionBudgetExceeded, "session".to_owned()),
        Owner::Token(_) => return (Code::BudgetExceeded, "token".to_owned()),
    };
    (Code::BudgetExceeded, format!("{owner} {}", short.period.as_str()))
}
