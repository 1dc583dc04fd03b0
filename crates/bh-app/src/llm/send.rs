//! Sends an admitted call: next candidate on a retryable fault, never after the first byte reached the client.

use std::sync::Arc;
use std::time::Duration;

use bh_domain::refusal::{Code, Refusal};
use bh_wire::edit::{Edits, apply};
use bh_wire::family::Endpoint;
use bh_wire::headers::request_headers;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty};
use secrecy::ExposeSecret;

use super::admit::Admitted;
use super::body::{GoneOut, Passing, sha256, watched};
use super::read::{Asked, AskedBody};
use super::route::Choice;
use super::ticket::{FailedAttempt, Ticket};
use super::{Parts, elapsed_ms, target};
use crate::identity::{bearer, is_own_key};
use crate::ports::{Attempt, ProviderBody, ProviderRequest, ProviderResponse, SendFault, SendFaultKind};
use crate::snapshot::{Capped, Provider, UpstreamAuth};

/// A provider that asks for a longer pause than this is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// An answered call, money still held.
pub(super) struct Sent {
    pub(super) choice: Choice,
    pub(super) response: ProviderResponse,
    pub(super) budgets: Vec<Capped>,
    /// The chunk that reports usage was asked for by us, not by the client.
    pub(super) strip_usage: bool,
    /// Time spent waiting for providers, in nanoseconds.
    pub(super) waited_ns: u64,
}

/// How one attempt ended.
enum Tried {
    Answered(ProviderResponse),
    Failed {
        class: &'static str,
        refusal: Refusal,
        /// It went out: the provider may bill its input.
        gone_out: bool,
    },
    /// An error answer of the provider that another attempt might avoid.
    Declined {
        response: ProviderResponse,
        retry_after: Option<Duration>,
    },
}

/// Sends the call.
pub(super) async fn send(parts: &Parts, ticket: &mut Ticket, admitted: Admitted) -> Result<Sent, Refusal> {
    let Admitted { mut asked, choices, budgets } = admitted;
    let repeatable = !matches!(asked.body, AskedBody::Passing(_));
    let mut waited_ns = 0;
    let mut last: Option<(Choice, Tried, bool)> = None;
    let deadline = parts.clock.monotonic_ns()
        + nanos(choices.first().map_or(Duration::ZERO, |c| c.provider.timeouts.request));
    'choices: for choice in choices {
        for retry in 0..=choice.provider.retry.attempts {
            if let Some((earlier, failed, strip)) = last.take() {
                if retry > 0 && !pause(parts, &choice, retry, retry_after(&failed), deadline).await {
                    last = Some((earlier, failed, strip));
                    continue 'choices;
                }
                let gone_out = matches!(failed, Tried::Failed { gone_out: true, .. });
                let held = !gone_out || hold_for_loss(parts, ticket, &earlier, &budgets).await;
                note(parts, ticket, &earlier, &failed);
                if let (false, Tried::Failed { refusal, .. }) = (held, failed) {
                    return Err(refusal);
                }
            }
            let (mut outgoing, strip_usage) = prepare(ticket, &choice, &mut asked)?;
            let limit = &mut outgoing.request.attempt.header_timeout;
            *limit = (*limit).min(left(parts, deadline));
            ticket.asked_of = Some(choice.clone());
            let started = parts.clock.monotonic_ns();
            let tried = attempt(parts, outgoing).await;
            waited_ns += parts.clock.monotonic_ns() - started;
            if let Tried::Answered(response) = tried {
                return Ok(Sent { choice, response, budgets, strip_usage, waited_ns });
            }
            last = Some((choice.clone(), tried, strip_usage));
            if !repeatable || parts.clock.monotonic_ns() >= deadline {
                break 'choices;
            }
        }
    }
    match last {
        // Nobody did better: the provider's own error answer goes to the client as it is.
        Some((choice, Tried::Declined { response, .. } | Tried::Answered(response), strip_usage)) => {
            Ok(Sent { choice, response, budgets, strip_usage, waited_ns })
        }
        Some((choice, Tried::Failed { class, refusal, gone_out }, _)) => {
            let callers_own = ticket.passing.as_ref().and_then(Passing::refusal);
            if callers_own.is_none() && class != SendFaultKind::CallerBody.as_str() {
                note_failed(parts, ticket, &choice, class, gone_out);
            }
            Err(callers_own.unwrap_or(refusal))
        }
        None => Err(Refusal::new(Code::ProviderUnknown, "No provider is left to try")),
    }
}

fn left(parts: &Parts, deadline_ns: u64) -> Duration {
    Duration::from_nanos(deadline_ns.saturating_sub(parts.clock.monotonic_ns()))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An attempt that went out and died may have cost its input. Before the next one starts, that is held beside what the
/// call holds for the answer. False when a budget does not hold it.
async fn hold_for_loss(parts: &Parts, ticket: &mut Ticket, choice: &Choice, budgets: &[Capped]) -> bool {
    let Some(lost) = ticket.loss(choice) else { return true };
    let Ok(hold) = parts.budgets.hold(budgets.to_vec(), lost.cost).await else { return false };
    ticket.reserved += hold.amount();
    ticket.holds.push(hold);
    true
}

fn note(parts: &Parts, ticket: &mut Ticket, choice: &Choice, tried: &Tried) {
    match tried {
        Tried::Answered(_) => {}
        Tried::Failed { class, gone_out, .. } => note_failed(parts, ticket, choice, class, *gone_out),
        Tried::Declined { response, .. } => {
            let status = response.status.as_u16();
            let class = if status == 429 { "rate_limited" } else { "server_error" };
            let failed = failed_attempt(parts, ticket, choice, class);
            ticket.failed.push(FailedAttempt { status: Some(status), ..failed });
        }
    }
}

fn note_failed(parts: &Parts, ticket: &mut Ticket, choice: &Choice, class: &'static str, gone_out: bool) {
    let lost = if gone_out { ticket.loss(choice) } else { None };
    let failed = failed_attempt(parts, ticket, choice, class);
    ticket.failed.push(FailedAttempt { lost, ..failed });
}

fn failed_attempt(parts: &Parts, ticket: &Ticket, choice: &Choice, class: &'static str) -> FailedAttempt {
    FailedAttempt {
        provider: Arc::clone(&choice.provider),
        model: choice.model(ticket.requested_model.as_deref()).map(str::to_owned),
        error_class: class,
        status: None,
        chain_position: choice.chain_position,
        at: parts.clock.now(),
        duration_ms: elapsed_ms(parts.clock.as_ref(), ticket.started_ns),
        lost: None,
    }
}

fn retry_after(tried: &Tried) -> Option<Duration> {
    match tried {
        Tried::Answered(_) | Tried::Failed { .. } => None,
        Tried::Declined { retry_after, .. } => *retry_after,
    }
}

/// Waits before a retry: full jitter under an exponential ceiling, but never less than the provider asked for.
/// Returns false when that would take too long, so that the next candidate is better.
async fn pause(parts: &Parts, choice: &Choice, retry: u32, floor: Option<Duration>, deadline: u64) -> bool {
    let rule = choice.provider.retry;
    let ceiling = rule.initial.saturating_mul(2_u32.saturating_pow(retry - 1)).min(rule.max);
    let mut random = [0; 8];
    parts.entropy.fill(&mut random);
    let jittered = ceiling.mul_f64(
        f64::from(u32::from_le_bytes([random[0], random[1], random[2], random[3]])) / f64::from(u32::MAX),
    );
    let wait = jittered.max(floor.unwrap_or_default());
    if wait > RETRY_AFTER_MAX || parts.clock.monotonic_ns() + nanos(wait) >= deadline {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

async fn attempt(parts: &Parts, outgoing: Outgoing) -> Tried {
    match parts.upstream.send(outgoing.request).await {
        Ok(response) if retryable(response.status) => {
            let retry_after = asked_pause(&response.headers);
            Tried::Declined { response, retry_after }
        }
        Ok(response) => Tried::Answered(response),
        Err(fault) => failed(&fault, outgoing.gone_out.is_some_and(|gone_out| gone_out.get())),
    }
}

fn retryable(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds))
}

fn failed(fault: &SendFault, body_taken: bool) -> Tried {
    tracing::warn!(error = fault as &dyn std::error::Error, "provider attempt failed");
    let (code, message) = match fault.kind {
        SendFaultKind::Timeout => (Code::UpstreamTimeout, "The provider did not answer in time"),
        SendFaultKind::Connect => (Code::UpstreamUnreachable, "The provider could not be reached"),
        SendFaultKind::Broken => {
            (Code::UpstreamUnreachable, "The connection to the provider broke before its answer")
        }
        SendFaultKind::Forbidden => {
            (Code::UpstreamUnreachable, "The provider's address is one the gateway may not connect to")
        }
        SendFaultKind::CallerBody => (Code::InvalidRequest, "The request body broke off before its end"),
    };
    let died = matches!(fault.kind, SendFaultKind::Timeout | SendFaultKind::Broken);
    let refusal = Refusal::new(code, message);
    Tried::Failed { class: fault.kind.as_str(), refusal, gone_out: died && body_taken }
}

/// One attempt's request.
struct Outgoing {
    request: ProviderRequest,
    /// `None` for a body that is not metered.
    gone_out: Option<GoneOut>,
}

/// Builds one attempt's request. The second value says whether the usage chunk must be stripped from the answer.
fn prepare(ticket: &mut Ticket, choice: &Choice, asked: &mut Asked) -> Result<(Outgoing, bool), Refusal> {
    let provider = &choice.provider;
    let mut headers = request_headers(&asked.headers);
    credential(ticket, provider, &asked.headers, &mut headers)?;
    let uri = target::uri(ticket, choice, asked)?;
    let (mut strip_usage, mut gone_out) = (false, None);
    let body: ProviderBody = match &mut asked.body {
        AskedBody::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        AskedBody::Read { bytes, facts } => {
            strip_usage = ticket.endpoint == Endpoint::ChatCompletions
                && facts.stream
                && provider.inject_stream_usage
                && facts.include_usage != Some(true);
            let store = if ticket.endpoint == Endpoint::Responses {
                provider.store_mode
            } else {
                bh_wire::edit::StoreMode::Preserve
            };
            let model = target::model_in_body(ticket, choice, &asked.entry);
            let edits = Edits { model, include_usage: strip_usage, store };
            let (body, watch) = watched(apply(bytes, facts, edits));
            gone_out = Some(watch);
            body
        }
        body @ AskedBody::Passing(_) => match std::mem::replace(body, AskedBody::Empty) {
            AskedBody::Passing(body) => body.boxed_unsync(),
            AskedBody::Empty | AskedBody::Read { .. } => {
                Empty::new().map_err(|never| match never {}).boxed_unsync()
            }
        },
    };
    let attempt = Attempt {
        connect_timeout: provider.timeouts.connect,
        header_timeout: provider.timeouts.header,
        private_network: provider.private_network,
    };
    let request = ProviderRequest { method: asked.method.clone(), uri, headers, body, attempt };
    Ok((Outgoing { request, gone_out }, strip_usage))
}

/// Puts the provider's credential on the request: ours, or in the quickstart the caller's own.
fn credential(
    ticket: &mut Ticket,
    provider: &Provider,
    incoming: &HeaderMap,
    headers: &mut HeaderMap,
) -> Result<(), Refusal> {
    let configured = provider.api_key.as_ref().map(|key| key.expose_secret().as_bytes());
    let (key, source) = match provider.auth {
        UpstreamAuth::Secret => match configured {
            Some(key) => (key, "secret"),
            // Local servers want none; any other provider says so itself.
            None => return Ok(()),
        },
        UpstreamAuth::ClientBearer => match (bearer(incoming), configured) {
            (Some(key), _) if is_own_key(&ticket.snapshot, key) => return Err(own_key()),
            (Some(key), _) => (key, "client"),
            (None, Some(key)) => (key, "env"),
            (None, None) => return Err(no_credential()),
        },
    };
    ticket.key_source = Some(source);
    if provider.auth == UpstreamAuth::ClientBearer {
        ticket.key_fingerprint = Some(fingerprint(key));
    }
    let unusable = || {
        Refusal::new(Code::UpstreamCredentialMissing, "The provider's credential cannot be sent in a header")
    };
    let key = std::str::from_utf8(key).map_err(|_| unusable())?;
    let (name, value) = provider.credential_style.header(key).map_err(|_| unusable())?;
    headers.insert(name, value);
    Ok(())
}

fn own_key() -> Refusal {
    Refusal::new(
        Code::UpstreamCredentialMissing,
        "the bearer is one of this gateway's own keys, which are never sent to a provider: send your provider key",
    )
}

fn no_credential() -> Refusal {
    Refusal::new(
        Code::UpstreamCredentialMissing,
        "no upstream credential: set OPENAI_API_KEY or send Authorization: Bearer with your provider key",
    )
}

/// First 12 hexadecimal digits of the key's SHA-256 (seed 002).
fn fingerprint(key: &[u8]) -> String {
    bh_domain::evidence::hex::encode(&sha256(key)).chars().take(12).collect()
}
