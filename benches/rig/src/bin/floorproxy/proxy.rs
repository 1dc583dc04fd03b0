//! The proxying itself: request out, answer back, usage read on the way.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use tokio::sync::oneshot;

use crate::admission::{self, Admitted, KeyDigest, Usage};
use crate::{Mode, State};

pub type AnyBody = BoxBody<Bytes, hyper::Error>;
type Answer = Response<AnyBody>;

/// How much of a stream's end is kept to find its usage in.
const TAIL_BYTES_MAX: usize = 4096;
const TAIL_BYTES_KEPT: usize = 1024;
const USAGE_MARK: &[u8] = b"\"usage\":";

#[derive(serde::Deserialize)]
struct ChatResponse {
    usage: Option<Usage>,
}

/// One request, from head to settlement.
pub async fn handle(state: &'static State, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("http://{}{path}", state.upstream).parse() else { return Ok(say(400, "bad path")) };
    parts.uri = uri;
    parts.headers.remove(HOST);
    let digest = match identify(state, &mut parts.headers) {
        Ok(digest) => digest,
        Err(reason) => return Ok(say(401, reason)),
    };
    let (admitted, body) = if state.mode >= Mode::Govern {
        let whole = body.collect().await?.to_bytes();
        match admission::admit(state, digest, &whole) {
            Ok(admitted) => (Some(admitted), full(whole)),
            Err((status, reason)) => return Ok(say(status, reason)),
        }
    } else {
        (None, body.boxed())
    };
    let Ok(response) = state.client.request(Request::from_parts(parts, body)).await else {
        return Ok(say(502, "upstream"));
    };
    let Some(admitted) = admitted else { return Ok(response.map(BodyExt::boxed)) };
    answer(state, admitted, response).await
}

/// Swaps the caller's key for the upstream's; nobody is asked for one in the mode that only passes.
fn identify(state: &State, headers: &mut HeaderMap) -> Result<KeyDigest, &'static str> {
    if state.mode < Mode::Auth {
        return Ok([0; 32]);
    }
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let digest = admission::authenticate(state, bearer.ok_or("no key")?).ok_or("unknown key")?;
    headers.insert(AUTHORIZATION, state.upstream_key.clone());
    Ok(digest)
}

async fn answer(
    state: &'static State,
    admitted: Admitted,
    response: Response<Incoming>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = response.into_parts();
    let kind = head.headers.get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        let tap = Tap { inner: body, tail: BytesMut::new(), state, admitted: Some(admitted) };
        return Ok(Response::from_parts(head, tap.boxed()));
    }
    let whole = body.collect().await?.to_bytes();
    let usage = serde_json::from_slice::<ChatResponse>(&whole).ok().and_then(|r| r.usage).unwrap_or_default();
    if let Some(written) = settle(state, &admitted, usage) {
        written.await.ok();
    }
    Ok(Response::from_parts(head, full(whole)))
}

fn settle(state: &State, admitted: &Admitted, usage: Usage) -> Option<oneshot::Receiver<()>> {
    admission::settle(state, admitted, usage);
    state.journal.add(admitted, usage)
}

/// Streams a response through, keeping the last bytes so that the usage event can be read at the end.
struct Tap {
    inner: Incoming,
    tail: BytesMut,
    state: &'static State,
    admitted: Option<Admitted>,
}

impl Tap {
    fn watch(&mut self, data: &[u8]) {
        if self.tail.len() + data.len() > TAIL_BYTES_MAX {
            let kept = self.tail.len().min(TAIL_BYTES_KEPT);
            drop(self.tail.split_to(self.tail.len() - kept));
        }
        self.tail.extend_from_slice(data);
    }

    fn finish(&mut self) {
        let Some(admitted) = self.admitted.take() else { return };
        let usage = memchr::memmem::rfind(&self.tail, b"\"usage\":{").and_then(|at| {
            let json = &self.tail[at + USAGE_MARK.len()..];
            serde_json::Deserializer::from_slice(json).into_iter::<Usage>().next()?.ok()
        });
        drop(settle(self.state, &admitted, usage.unwrap_or_default()));
    }
}

impl Body for Tap {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.watch(data);
                }
            }
            Poll::Ready(None) => self.finish(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.admitted.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn full(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

fn say(status: u16, reason: &'static str) -> Answer {
    let mut answer = Response::new(full(Bytes::from_static(reason.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}
