//! The endpoint-to-key matrix of seed 002: every route, with no key, a bad one, and each kind of right one.

use std::collections::HashMap;

use bh_app::identity::Access;
use bh_http::{Family, MATRIX, Row};
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::json;

use crate::auth::{ACME_KEY, ADMIN_KEY, BULKHEAD, GLOBEX_KEY, PROXIED_CHAT, TWO_CALLERS, chat, gateway_yaml};

/// Routes whose errors are AIP-193's.
const KEY_SERVER: &str = "/v2alpha1/";
const TENANT_API: &str = "/api/v1/";
const DASHBOARD_API: &str = "/api/v1/metrics";

/// What a request shows for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    BadKey,
    BadAdminKey,
    TenantKey,
    OtherTenantKey,
    AdminKey,
    AdminBearer,
    /// An issued key with this scope.
    Issued(&'static str),
}

const SHOWN: [Shown; 11] = [
    Shown::Nothing,
    Shown::BadKey,
    Shown::BadAdminKey,
    Shown::TenantKey,
    Shown::OtherTenantKey,
    Shown::AdminKey,
    Shown::AdminBearer,
    Shown::Issued("llm"),
    Shown::Issued("tools"),
    Shown::Issued("read"),
    Shown::Issued("keys"),
];

/// Texts of issued keys of tenant acme, by scope.
type Issued = HashMap<&'static str, String>;

/// One key for each scope.
async fn issue(gateway: &Gateway) -> Issued {
    let mut keys = Issued::new();
    for shown in SHOWN {
        let Shown::Issued(scope) = shown else { continue };
        let wish = json!({"name": scope, "scopes": [scope]});
        let call = Call::post(gateway.at("/v2alpha1/admin/issuedApiKeys"), &wish);
        let made = call.bearer(ADMIN_KEY).header("x-tenant-id", "acme").send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        keys.insert(scope, made.json()["secret"].as_str().unwrap().to_owned());
    }
    keys
}

impl Shown {
    fn on(self, call: Call, issued: &Issued) -> Call {
        match self {
            Self::Nothing => call,
            Self::BadKey => call.bearer("nobody"),
            Self::BadAdminKey => call.header("x-talon-admin-key", "nobody"),
            Self::TenantKey => call.bearer(ACME_KEY),
            Self::OtherTenantKey => call.bearer(GLOBEX_KEY),
            Self::AdminKey => call.header("x-talon-admin-key", ADMIN_KEY),
            Self::AdminBearer => call.bearer(ADMIN_KEY),
            Self::Issued(scope) => call.bearer(&issued[scope]).header("x-tenant-id", "acme"),
        }
    }

    /// The scope that an issued key needs for this route; `None` where none helps.
    fn scope_of(access: Access, path: &str) -> Option<&'static str> {
        match access {
            Access::Tenant if ["/mcp", TENANT_API].iter().any(|prefix| path.starts_with(prefix)) => {
                Some("tools")
            }
            Access::Tenant => Some("llm"),
            Access::TenantOrAdmin => Some("read"),
            Access::KeyAdmin => Some("keys"),
            Access::Open | Access::Admin => None,
        }
    }

    fn opens(self, access: Access, path: &str) -> bool {
        if let Self::Issued(scope) = self {
            return access == Access::Open || Self::scope_of(access, path) == Some(scope);
        }
        let tenant = matches!(self, Self::TenantKey | Self::OtherTenantKey);
        let admin = matches!(self, Self::AdminKey | Self::AdminBearer);
        match access {
            Access::Open => true,
            Access::Tenant => tenant,
            Access::TenantOrAdmin => tenant || admin,
            Access::Admin | Access::KeyAdmin => admin,
        }
    }
}

async fn start(store: Store, provider: &FakeProvider) -> Gateway {
    let yaml = gateway_yaml(provider, TWO_CALLERS);
    Gateway::builder(BULKHEAD).store(store).config(&yaml).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await
}

/// A path of this row about one of acme's objects.
fn path_of(row: &Row, acme_id: &str) -> String {
    row.path
        .replace("{provider}", "openai")
        .replace("{*model}", "gpt-4o-mini")
        .replace("{id}", acme_id)
        .replace("{key_id}", acme_id)
        .replace("{tenant}", "acme")
        .replace("{*name}", "part")
        .replace("{integration}", "github")
        .replace("{identity_id}", acme_id)
        .replace("{*rest}", if row.path.contains("/proxy/") { "v1/files" } else { "part" })
}

fn methods_of(row: &Row) -> Vec<&'static str> {
    if row.methods == "*" {
        vec!["GET", "POST", "PUT", "PATCH", "DELETE"]
    } else {
        row.methods.split(' ').collect()
    }
}

/// A key without the scope is told which one it lacks.
fn assert_lacks(answer: &Answer, scope: &str, what: &str) {
    assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    assert!(answer.text().contains(&format!("`{scope}`")), "{what}: {}", answer.text());
}

fn assert_refused(answer: &Answer, row: &Row, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bulkhead\""), "{what}");
    let body = answer.json();
    if row.path.starts_with(KEY_SERVER) {
        assert_eq!(body["error"]["status"], json!("UNAUTHENTICATED"), "{what}: {body}");
    } else if matches!(row.answer, Family::Llm(_)) {
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{what}: {body}");
    } else if row.path.starts_with(TENANT_API) && !row.path.starts_with(DASHBOARD_API) {
        assert_eq!(
            (&body["success"], &body["error"]["code"]),
            (&json!(false), &json!("INVALID_API_KEY")),
            "{what}"
        );
    } else {
        assert_eq!(body["error"], json!("unauthorized"), "{what}: {body}");
    }
}

fn assert_opened(answer: &Answer, row: &Row, what: &str) {
    match row.answer {
        Family::Later(_) => {
            assert_eq!(answer.status, 501, "{what}: {}", answer.text());
            let body = answer.json();
            let (code, message) = match body["error"].as_object() {
                Some(error) => (&error["code"], &error["message"]),
                None => (&body["error"], &body["message"]),
            };
            assert_eq!(
                code.as_str().map(str::to_ascii_lowercase).as_deref(),
                Some("not_implemented"),
                "{what}"
            );
            assert!(message.as_str().is_some_and(|message| message.len() > 20), "{what}: {body}");
            assert!(answer.header("x-bulkhead-arrives-with").is_some(), "{what}");
        }
        Family::Control(_) | Family::Llm(_) => {
            assert!(
                [200, 201, 400, 404, 405].contains(&answer.status),
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
}

on_both_stores! {
    /// Proves: TALON-11
    async fn every_route_takes_exactly_the_keys_of_its_family(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider).await;
        let made = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(ACME_KEY).send().await;
        let acme_id = made.header("x-bulkhead-request-id").unwrap().to_owned();
        let issued = issue(&gateway).await;
        for row in MATRIX {
            for (method, shown) in methods_of(row).into_iter().flat_map(|m| SHOWN.map(|s| (m, s))) {
                let what = format!("{method} {} with {shown:?}", row.path);
                let mut call = Call::new(method, gateway.at(&path_of(row, &acme_id)));
                if method == "POST" {
                    call = call.json(&json!({}));
                }
                let hits = provider.hits();
                let answer = shown.on(call, &issued).send().await;
                if shown.opens(row.access, row.path) {
                    assert_opened(&answer, row, &what);
                } else if let (Shown::Issued(_), Some(scope)) = (shown, Shown::scope_of(row.access, row.path)) {
                    assert_lacks(&answer, scope, &what);
                    assert_eq!(provider.hits(), hits, "{what}: nothing is forwarded");
                } else {
                    assert_refused(&answer, row, &what);
                    assert_eq!(provider.hits(), hits, "{what}: nothing is forwarded");
                }
            }
        }
    }

    /// The right kind of key on another tenant's object is 404, as if the object had never been.
    async fn another_tenants_object_does_not_exist(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider).await;
        let made = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(ACME_KEY).send().await;
        let acme_id = made.header("x-bulkhead-request-id").unwrap().to_owned();
        for path in ["/v1/evidence/{id}", "/v1/evidence/{id}/trace", "/v1/evidence/{id}/verify"] {
            let of = |id: &str, key: &str| Call::get(gateway.at(&path.replace("{id}", id))).bearer(key);
            assert_eq!(of(&acme_id, ACME_KEY).send().await.status, 200, "{path}");
            let foreign = of(&acme_id, GLOBEX_KEY).send().await;
            let unknown = of("gw_00000000000000000000000000000000", GLOBEX_KEY).send().await;
            assert_eq!((foreign.status, unknown.status), (404, 404), "{path}");
            let told = |answer: &Answer| (answer.json()["error"].clone(), answer.json()["message"].clone());
            assert_eq!(told(&foreign), told(&unknown), "{path}");
        }
    }
}

/// The families as seed 002 and the dossier list them, so that no row can be left out of the table unnoticed.
const FAMILIES: &[(Access, &str)] = &[
    (
        Access::Tenant,
        "POST /v1/proxy/openai/v1/chat/completions|POST /v1/agents/run|POST /v1/chat/completions|POST /mcp|\
         POST /mcp/proxy",
    ),
    (
        Access::TenantOrAdmin,
        "GET /v1/evidence|GET /v1/evidence/timeline|GET /v1/evidence/x|GET /v1/evidence/x/trace|\
         GET /v1/evidence/x/verify|POST /v1/evidence/export|GET /v1/status|GET /v1/costs|GET /v1/costs/budget|\
         GET /v1/costs/report|POST /v1/costs/export|GET /v1/memory|GET /v1/memory/as-of|GET /v1/memory/search|\
         GET /v1/memory/x|GET /v1/memory/a/review|GET /v1/triggers|GET /v1/triggers/x/history|\
         GET /v1/plans/pending|GET /v1/plans/x",
    ),
    (
        Access::Admin,
        "POST /v1/plans/x/approve|POST /v1/plans/x/reject|POST /v1/plans/x/modify|POST /v1/memory/a/approve|\
         GET /v1/secrets|GET /v1/secrets/audit|GET /v1/policies|POST /v1/policies/evaluate|\
         GET /v1/dashboard/tenants-summary|GET /v1/dashboard/agent-health|GET /v1/dashboard/drift-signals|\
         GET /v1/dashboard/denials-by-reason|GET /v1/dashboard/governance-alerts|GET /v1/dashboard/audit-pack|\
         GET /v1/dashboard/review-history|GET /v1/copaw/stats|GET /v1/copaw/alerts|GET /v1/runs|GET /v1/runs/x|\
         POST /v1/runs/x/kill|POST /v1/runs/x/pause|POST /v1/runs/x/resume|POST /v1/runs/kill-all|\
         GET /v1/overrides|GET /v1/overrides/t|DELETE /v1/overrides/t|POST /v1/overrides/t/lockdown|\
         DELETE /v1/overrides/t/lockdown|POST /v1/overrides/t/tools/disable|POST /v1/overrides/t/tools/enable|\
         POST /v1/overrides/t/policy|GET /v1/tool-approvals|GET /v1/tool-approvals/x|\
         POST /v1/tool-approvals/x/decide|GET /gateway/dashboard|GET /api/v1/metrics|GET /api/v1/metrics/stream",
    ),
];

#[tokio::test]
async fn every_route_of_seed_002_is_there_and_wants_its_key() {
    let provider = FakeProvider::start();
    let gateway = start(Store::Sqlite, &provider).await;
    let issued = issue(&gateway).await;
    for (access, routes) in FAMILIES {
        for route in routes.split('|') {
            let (method, path) = route.split_once(' ').unwrap();
            for shown in SHOWN {
                let call = Call::new(method, gateway.at(path)).json(&json!({}));
                let answer = shown.on(call, &issued).send().await;
                let message = answer.text();
                if shown.opens(*access, path) {
                    assert!(![401, 403, 405].contains(&answer.status), "{route} {shown:?}: {message}");
                    assert!(!message.contains("No such route"), "{route} {shown:?}: {message}");
                } else if let (Shown::Issued(_), Some(scope)) = (shown, Shown::scope_of(*access, path)) {
                    assert_lacks(&answer, scope, route);
                } else {
                    assert_eq!(answer.status, 401, "{route} {shown:?}: {message}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_say_so() {
    let gateway = Gateway::builder(BULKHEAD).start().await;
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("DELETE", "/v1/status", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
    ] {
        let answer = Call::new(method, gateway.at(path)).send().await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)), "{method} {path}");
        assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("gw_")), "{method} {path}");
    }
}
