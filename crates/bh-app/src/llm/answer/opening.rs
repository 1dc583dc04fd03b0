//! From what the provider began to answer to what the client is answered.

use std::collections::VecDeque;

use aws_lc_rs::digest::{Context as Hasher, SHA256};
use bh_domain::limit::RateVerdict;
use bh_domain::price::ModelPrice;
use bh_domain::refusal::Refusal;
use bh_wire::headers::response_headers;
use bh_wire::stream::StreamWatcher;
use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::Body as _;
use tokio::time::Instant;

use super::brake::Brake;
use super::{AnswerBody, Phase, Watch};
use crate::llm::route::Choice;
use crate::llm::send::Sent;
use crate::llm::ticket::OpenCall;
use crate::llm::{Answered, Parts};

/// Turns a provider's answer into the client's.
///
/// # Errors
/// A refusal in place of a plain answer of which nothing has left yet.
pub(in crate::llm) async fn meter(
    parts: &Parts,
    open: OpenCall,
    sent: Sent,
    rate: Option<RateVerdict>,
) -> Result<Answered, Refusal> {
    let Sent { choice, response, budgets, strip_usage, waited_ns } = sent;
    let mut headers = response_headers(&response.headers);
    let stream = is_event_stream(&response.headers) && response.status.is_success();
    if stream {
        headers.remove(CONTENT_LENGTH);
    }
    let total_ns = parts.clock.monotonic_ns().saturating_sub(open.ticket().started_ns);
    let overhead_us = total_ns.saturating_sub(waited_ns) / 1_000;
    let session_id = open.ticket().session_id.clone();
    let keep = open.ticket().snapshot.evidence.store_answers;
    let price = price_of(&open, &choice);
    let idle = choice.provider.timeouts.idle;
    let watch = if stream {
        Watch::Stream(Box::new(StreamWatcher::new(open.ticket().endpoint, strip_usage)))
    } else {
        Watch::Plain(Box::default())
    };
    let mut body = AnswerBody {
        inner: response.body,
        watch,
        hash: Some(Hasher::new(&SHA256)),
        kept: keep.then(BytesMut::new),
        phase: Phase::Flowing,
        ready: VecDeque::new(),
        held: Vec::new(),
        call: Some(open),
        choice,
        http_status: response.status.as_u16(),
        plain_bytes: 0,
        ttft_ms: None,
        idle,
        last: Instant::now(),
        pause: Box::pin(tokio::time::sleep(idle)),
        brake: Brake { budgets, price, more: None, exhausted: false },
    };
    if body.inner.is_end_stream() {
        body.settle(body.natural_ending());
    }
    let mut answer = Response::new(body.primed().await?);
    *answer.status_mut() = response.status;
    *answer.headers_mut() = headers;
    Ok(Answered { response: answer, rate, overhead_us, session_id })
}

fn price_of(open: &OpenCall, choice: &Choice) -> ModelPrice {
    let ticket = open.ticket();
    let model = choice.model(ticket.requested_model.as_deref()).unwrap_or_default();
    ticket.snapshot.prices.find(&choice.provider.id, model).0
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
    })
}
