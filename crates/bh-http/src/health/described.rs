//! What these doors say of themselves.

use serde_json::{Map, Value, json};

use crate::openapi::{Chapter, Operation, Schemas};

/// Where each probe is asked, and its operation's id.
const LIVE: [(&str, &str); 4] =
    [("/healthz", "healthz"), ("/livez", "livez"), ("/health", "health"), ("/v1/health", "healthV1")];
const READY: [(&str, &str); 2] = [("/readyz", "readyz"), ("/ready", "ready")];

pub(crate) fn chapter() -> Chapter {
    let about = "Probes and metrics. They take no key and answer on every host; the figures as JSON are an operator's.";
    let live = LIVE.map(|(path, id)| {
        Operation::get(path, id, "Say whether the process answers").tells("200", "It does.", live)
    });
    let ready = READY.map(|(path, id)| {
        Operation::get(path, id, "Say whether calls would be accepted")
            .text("With `?verbose` each part is named.")
            .takes([crate::openapi::text("verbose", "Names each part, whatever its value.")])
            .tells("200", "They would.", ready)
            .tells("503", "They would not: the store or evidence fails, or the gateway is stopping.", ready)
    });
    let talos = [
        Operation::get("/health/alive", "alive", "Say whether the process answers, in Talos's words")
            .tells("200", "It does.", status),
        Operation::get("/health/ready", "prepared", "Say whether calls would be accepted, in Talos's words")
            .tells("200", "They would.", status)
            .tells("503", "They would not.", status),
    ];
    let metrics = Operation::get("/metrics", "metrics", "Give metrics")
        .text("In OpenMetrics' text form for those who ask for it, as Prometheus does, and in its older one for others. Where `server.metrics_listen` names a listener of its own, it is there alone.")
        .tells_as(
            "200",
            "The metrics.",
            &[("application/openmetrics-text", text), ("text/plain", text)],
        );
    let totals =
        Operation::get("/api/v1/metrics", "showTotals", "Show what this process has served since it started")
            .text("Of every tenant: what it has put into the usage ledger.")
            .tells("200", "The figures.", totals);
    Chapter::new(
        "Health",
        about,
        live.into_iter().chain(ready).chain(talos).chain([metrics, totals]).collect(),
    )
}

fn live(schemas: &mut Schemas) -> Value {
    schemas.written("Health", |_| {
        json!({
            "type": "object",
            "properties": {
                "status": {"type": "string", "description": "`ok` while the process answers."},
                "service": {"const": "bulkhead"},
                "uptime_seconds": {"type": "integer", "minimum": 0},
            },
            "required": ["status", "service", "uptime_seconds"],
        })
    })
}

fn ready(schemas: &mut Schemas) -> Value {
    schemas.written("Readiness", |_| {
        json!({
            "type": "object",
            "properties": {
                "status": {"type": "string", "description": "`ready`, `not_ready` or `stopping`."},
                "checks": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Each part and how it is doing.",
                },
                "degraded_tenants": {"type": "array", "items": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "A tenant and what is wrong with it.",
                }},
                "degraded_tenants_count": {"type": "integer", "minimum": 0},
                "config_generation": {"type": "integer", "minimum": 0},
                "config_error": {"type": "string"},
            },
            "required": ["status"],
        })
    })
}

fn text(_: &mut Schemas) -> Value {
    json!({"type": "string"})
}

fn totals(schemas: &mut Schemas) -> Value {
    schemas.written("Totals", |_| {
        let counts = |names: &[&str]| {
            let count = |name: &&str| ((*name).to_owned(), json!({"type": "integer", "minimum": 0}));
            json!({"type": "object", "properties": names.iter().map(count).collect::<Map<_, _>>(), "required": names})
        };
        let maybe = json!({"type": ["integer", "null"], "minimum": 0, "description": "Milliseconds; `null` before the first."});
        let mut tokens = counts(&["total", "input", "output"]);
        tokens["properties"]["average"] = json!({"type": ["integer", "null"], "minimum": 0, "description": "Of a request that was served."});
        let metrics = json!({
            "type": "object",
            "properties": {
                "requests": counts(&["total", "success", "failed", "denied"]),
                "latency": {"type": "object", "properties": {"p50": maybe, "p95": maybe, "p99": maybe}},
                "tokenUsage": tokens,
                "cost": {"type": "object", "properties": {"total": {"type": "string"}, "currency": {"type": "string"}}},
                "inFlight": {"type": "integer"},
            },
            "required": ["requests", "latency", "tokenUsage", "cost", "inFlight"],
        });
        json!({
            "type": "object",
            "properties": {
                "generated_at": {"type": "string", "format": "date-time"},
                "uptime_seconds": {"type": "integer", "minimum": 0},
                "metrics": metrics,
            },
            "required": ["generated_at", "uptime_seconds", "metrics"],
        })
    })
}

fn status(_: &mut Schemas) -> Value {
    json!({"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]})
}
