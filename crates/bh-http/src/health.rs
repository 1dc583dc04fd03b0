//! Liveness, readiness and metrics.

use axum::body::Body;
use axum::response::Response;
use bh_domain::refusal::Refusal;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::ask::Ask;
use crate::respond;

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
    let ready = store && evidence;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |ok: bool| if ok { "ok" } else { "failing" };
    let mut body = json!({"status": if ready { "ready" } else { "not_ready" }});
    if ask.parts.uri.query().is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose"))) {
        body["checks"] = json!({
            "store": word(store),
            "evidence": word(evidence),
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
    if ask.doors.store.ping().await.is_ok() && ask.doors.recorder.healthy() {
        return alive(ask).await;
    }
    respond::json_with(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unavailable"}))
}

/// Prometheus metrics.
pub(crate) async fn metrics(ask: Ask) -> Result<Response, Refusal> {
    let mut response = Response::new(Body::from(ask.doors.metrics.render(ask.doors.store.connections())));
    let kind = http::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}
