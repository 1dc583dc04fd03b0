//! The description of the doors: served, printed and checked in alike, shown as a page, and kept to by every answer.

use std::path::Path;

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores, sdk};
use serde_json::{Value, json};

use crate::auth::{ACME_KEY, ADMIN_KEY, BULKHEAD, PROXIED_CHAT, TWO_CALLERS, chat, gateway_yaml};
use crate::webhooks_setup::{local, receiver};

const DOCUMENT: &str = "/openapi.json";
const CHECKED_IN: &str = include_str!("../../../../docs/openapi.json");
const PAGE_PARTS: [&str; 3] = ["page.css", "page.js", "schema.js"];

#[tokio::test]
async fn the_description_is_served_printed_and_checked_in_alike() {
    let gateway = Gateway::builder(BULKHEAD).start().await;
    let served = Call::get(gateway.at(DOCUMENT)).send().await;
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert!(served.text() == CHECKED_IN, "the gateway serves another document than docs/openapi.json");
    let printed = gateway.cli(&["openapi"]);
    assert!(printed.ok() && printed.stdout == CHECKED_IN, "{}", printed.stderr);
    let tag = served.header("etag").unwrap();
    let again = Call::get(gateway.at(DOCUMENT)).header("if-none-match", tag).send().await;
    assert_eq!((again.status, again.text().as_str()), (304, ""));
    let other = Call::get(gateway.at(DOCUMENT)).header("if-none-match", "\"other\"").send().await;
    assert_eq!(other.status, 200);
}

fn assert_guarded(answer: &Answer, media_type: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)));
    let policy = answer.header("content-security-policy").unwrap();
    for word in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(word), "{policy}");
    }
    let text = answer.text();
    for elsewhere in ["http://", "https://", "src=\"//"] {
        assert!(!text.contains(elsewhere), "the page names another host: {elsewhere}");
    }
}

#[tokio::test]
async fn the_page_is_whole_and_asks_nothing_of_any_other_host() {
    let gateway = Gateway::builder(BULKHEAD).start().await;
    let page = Call::get(gateway.at("/docs")).send().await;
    assert_guarded(&page, "text/html; charset=utf-8");
    for part in PAGE_PARTS {
        let media_type = if part.ends_with("css") { "text/css" } else { "text/javascript" };
        let answer = Call::get(gateway.at(&format!("/docs/{part}"))).send().await;
        assert_guarded(&answer, &format!("{media_type}; charset=utf-8"));
    }
    let missing = Call::get(gateway.at("/docs/page.map")).send().await;
    assert_eq!((missing.status, &missing.json()["error"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn a_plane_of_the_key_server_alone_describes_nothing() {
    for plane in ["admin", "public"] {
        let gateway = Gateway::builder(BULKHEAD).args(&["serve", plane]).start().await;
        assert_eq!(Call::get(gateway.at(DOCUMENT)).send().await.status, 404, "{plane}");
    }
}

/// How many operations there are.
fn operations() -> usize {
    let document: Value = serde_json::from_str(CHECKED_IN).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    paths.map(|methods| methods.as_object().unwrap().len()).sum()
}

/// A gateway in which much is there already.
struct Full {
    gateway: Gateway,
    /// What Schemathesis is told of it.
    ids: [(&'static str, String); 3],
    _provider: FakeProvider,
    _receiver: FakeProvider,
}

impl Full {
    async fn start(store: Store) -> Self {
        let (provider, receiver) = (FakeProvider::start(), receiver());
        let yaml = gateway_yaml(&provider, TWO_CALLERS);
        let limits = "multiTenant:\n  rateLimits: {requestsPerMinute: 10000000, requestsPerHour: 10000000, requestsPerDay: 10000000}\n";
        let webhooks = format!("webhooks:\n  endpoints:\n{}", local("billing", &receiver, ""));
        let yaml = format!("{yaml}{limits}{webhooks}");
        let gateway = Gateway::builder(BULKHEAD)
            .store(store)
            .config(&yaml)
            .env("TALON_ADMIN_KEY", ADMIN_KEY)
            .start()
            .await;
        let ids = [
            ("EVIDENCE_ID", call(&gateway).await),
            ("KEY_ID", issued(&gateway).await),
            ("EVENT_ID", event(&gateway).await),
        ];
        Self { gateway, ids, _provider: provider, _receiver: receiver }
    }

    /// Asks everything that the description promises, with this key.
    fn keeps_to_its_word(&self, key: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/openapi.py");
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let mut env = vec![("GATEWAY", self.gateway.url()), ("KEY", key), ("DOCUMENT", document)];
        env.extend(self.ids.iter().map(|(name, id)| (*name, id.as_str())));
        let output = sdk::python(&script, &env);
        assert!(output.ok(), "{output}");
        // All of them, or a filter that matches nothing would please everybody.
        let count = operations();
        assert!(output.stdout.contains(&format!("Tested: {count}\n")), "{count} operations: {output}");
        assert!(output.stdout.contains("No issues found"), "{output}");
    }
}

/// A record of a call of acme's.
async fn call(gateway: &Gateway) -> String {
    let made = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(ACME_KEY).send().await;
    made.header("x-bulkhead-request-id").unwrap().to_owned()
}

/// A key of `default`'s.
async fn issued(gateway: &Gateway) -> String {
    let wish = json!({"name": "described", "scopes": ["llm"]});
    let made = Call::post(gateway.at("/v2alpha1/admin/issuedApiKeys"), &wish).bearer(ADMIN_KEY).send().await;
    made.json()["issued_api_key"]["key_id"].as_str().unwrap().to_owned()
}

/// The event of a tenant that was made.
async fn event(gateway: &Gateway) -> String {
    let made = Call::post(gateway.at("/api/v1/admin/tenants"), &json!({"id": "described"}));
    assert_eq!(made.bearer(ADMIN_KEY).send().await.status, 201);
    let events = Call::get(gateway.at("/api/v1/admin/webhooks/events")).bearer(ADMIN_KEY).send().await;
    let first: Value = events.json()["data"][0]["id"].clone();
    first.as_str().unwrap().to_owned()
}

on_both_stores! {
    async fn schemathesis_finds_no_500_and_no_undocumented_answer_with_an_admin_key(store) {
        Full::start(store).await.keeps_to_its_word(ADMIN_KEY);
    }
}

#[tokio::test]
async fn schemathesis_finds_no_500_and_no_undocumented_answer_with_a_tenant_key() {
    Full::start(Store::Sqlite).await.keeps_to_its_word(ACME_KEY);
}

#[test]
fn typescripts_types_of_answers_are_made_from_the_description() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let (document, types) = (file("docs/openapi.json"), file("sdk/typescript/src/core/openapi.ts"));
    let output = sdk::own_node("typescript/codegen", &["generate.mjs", &document, &types, "--check"], &[]);
    assert!(output.ok(), "{output}");
}
