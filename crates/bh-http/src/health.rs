//! Liveness, readiness and metrics.

mod described;

use axum::body::Body;
use axum::response::Response;
use bh_app::metrics::plain_text;
use bh_app::ports::UsageSums;
use bh_domain::refusal::Refusal;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::ask::Ask;
use crate::respond;

pub(crate) use described::chapter;

/// Degraded tenants that `?verbose` names.
const DEGRADED_TOLD_MAX: usize = 100;

/// The process runs and answers.
pub(crate) async fn live(ask: Ask) -> Result<Response, Refusal> {
    let uptime_ns = ask.doors.clock.monotonic_ns().saturating_sub(ask.doors.started_ns);
    respond::json(
        &json!({"status": "ok", "service": "bulkhead", "uptime_seconds": uptime_ns / 1_000_000_000}),
    )
}

/// Whether calls would be accepted: the store answers, evidence can be written. `?verbose` names each part.
pub(crate) async fn ready(ask: Ask) -> Result<Response, Refusal> {
    let store = ask.doors.store.ping().await.is_ok();
    let evidence = ask.doors.recorder.healthy();
    let config = ask.doors.config_fault.load_full();
    let stopping = ask.doors.llm.stopping();
    let ready = store && evidence && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |ok: bool| if ok { "ok" } else { "failing" };
    let mut body =
        json!({"status": if stopping { "stopping" } else if ready { "ready" } else { "not_ready" }});
    if ask.parts.uri.query().is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose"))) {
        body["checks"] = json!({
            "store": word(store),
            "evidence": word(evidence),
            "rate_limit_store": word(ask.doors.metrics.rate_limit_store_up.get() == 1),
            "config": config.as_ref().map_or("current", |_| "stale"),
        });
        let degraded = &ask.snapshot.degraded;
        body["checks"]["tenants"] = if degraded.is_empty() { "ok" } else { "degraded" }.into();
        if !degraded.is_empty() {
            let told = degraded.iter().take(DEGRADED_TOLD_MAX);
            body["degraded_tenants"] = told.map(|(id, fault)| (id.to_string(), fault.to_string())).collect();
            body["degraded_tenants_count"] = degraded.len().into();
        }
        body["config_generation"] = ask.snapshot.generation.into();
        if let Some(fault) = config {
            body["config_error"] = fault.as_str().into();
        }
    }
    respond::json_with(status, &body)
}

/// As [`live`], in the API-key server's words (Talos dossier §10).
pub(crate) async fn alive(_: Ask) -> Result<Response, Refusal> {
    respond::json(&json!({"status": "ok"}))
}

/// As [`ready`], in the API-key server's words.
pub(crate) async fn prepared(ask: Ask) -> Result<Response, Refusal> {
    let stopping = ask.doors.llm.stopping();
    if !stopping && ask.doors.store.ping().await.is_ok() && ask.doors.recorder.healthy() {
        return alive(ask).await;
    }
    respond::json_with(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unavailable"}))
}

/// Metrics for Prometheus: OpenMetrics for those who ask for it, as Prometheus does, and its older text format for others.
pub(crate) async fn metrics(ask: Ask) -> Result<Response, Refusal> {
    let text = ask.doors.metrics.render(ask.doors.store.connections());
    let accepted = ask.parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (text, kind) = if accepted.into_iter().any(|accept| accept.contains("application/openmetrics-text")) {
        (text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (plain_text(&text), "text/plain; version=0.0.4; charset=utf-8")
    };
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// What this process has served since it started, of every tenant: what became durable in the usage ledger, and so the
/// same figures as there.
pub(crate) async fn totals(ask: Ask) -> Result<Response, Refusal> {
    let (doors, now) = (&ask.doors, ask.doors.clock.now());
    let used = doors.metrics.used_so_far();
    let UsageSums { requests, denied, failed, tokens, cost, latency, .. } = used;
    let (input, output) = (tokens.input + tokens.cache_read + tokens.cache_write, tokens.output);
    let success = requests.saturating_sub(denied).saturating_sub(failed);
    let up_s = doors.clock.monotonic_ns().saturating_sub(doors.started_ns) / 1_000_000_000;
    respond::json(&json!({
        "generated_at": now.rfc3339(),
        "uptime_seconds": up_s,
        "metrics": {
            "requests": {"total": requests, "success": success, "failed": failed, "denied": denied},
            "latency": {"p50": latency.percentile(50), "p95": latency.percentile(95), "p99": latency.percentile(99)},
            "tokenUsage": {"total": input + output, "input": input, "output": output, "average": (input + output).checked_div(success)},
            "cost": {"total": cost, "currency": ask.snapshot.currency},
            "inFlight": doors.metrics.in_flight.get(),
        },
    }))
}
