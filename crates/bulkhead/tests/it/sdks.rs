//! The official `openai` and `anthropic` SDKs, in Python and Node, against the real gateway: at its native addresses
//! and at its proxy's. The scripts are in `tests/clients`; each prints one line per call.

use std::path::Path;

use bh_testkit::{CliOutput, Ending, FakeProvider, Gateway, Recorded, Reply, Script, sdk};
use serde_json::json;

use crate::llm_setup::{KEY, PRICES, binary, config};

/// A caller whose budget holds no call.
const POOR_KEY: &str = "acme-poor-key-4e1f";
/// What the keys of callers that may ask once a minute begin with; each SDK has one.
const BUSY_KEY: &str = "acme-busy-key-77c2";

const TEXT: &str = "Hello from the fake provider.";

/// The two ways in.
const DOORS: [&str; 2] = ["native", "proxy"];

/// A language with both SDKs.
#[derive(Clone, Copy)]
struct Language {
    name: &'static str,
    extension: &'static str,
    run: fn(&Path, &[(&str, &str)]) -> CliOutput,
}

const PYTHON: Language = Language { name: "python", extension: "py", run: sdk::python };
const NODE: Language = Language { name: "node", extension: "cjs", run: sdk::node };

impl Language {
    /// The lines that a script prints at one of the gateway's doors.
    fn prints(self, gateway: &Gateway, script: &str, door: &str) -> Vec<String> {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(self.name);
        let env = [
            ("GATEWAY", gateway.url()),
            ("DOOR", door),
            ("KEY", KEY),
            ("POOR_KEY", POOR_KEY),
            ("BUSY_KEY", BUSY_KEY),
        ];
        let output = (self.run)(&clients.join(format!("{script}.{}", self.extension)), &env);
        assert!(output.ok() && output.stderr.is_empty(), "{}, {door}: {output}", self.name);
        output.stdout.lines().map(str::to_owned).collect()
    }
}

/// Fails on demand: model `fail-NNN` with that status, model `dies` in the middle of a stream.
fn failing(request: &Recorded) -> Option<Script> {
    let asked = request.json();
    let model = asked["model"].as_str()?;
    let anthropic = request.path().ends_with("/messages");
    if model == "dies" {
        let first = match (anthropic, request.path().ends_with("/responses")) {
            (true, _) => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            (_, true) => {
                "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"object\":\"response\",\"output\":[]}}\n\n"
            }
            _ => "data: {\"id\":\"c\",\"choices\":[]}\n\n",
        };
        return Some(Script::stream(vec![first.into()]).ending(Ending::Die));
    }
    let status = model.strip_prefix("fail-")?.parse().ok()?;
    if anthropic {
        let kind = if status == 503 { "overloaded_error" } else { "its_own" };
        return Some(Script::anthropic_error(status, kind, "in its own words"));
    }
    let error = json!({"message": "in its own words", "type": "its_own", "param": null, "code": "its_code"});
    Some(Script::json(status, &json!({ "error": error })))
}

async fn gateway(provider: &FakeProvider) -> Gateway {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = provider.url();
    let providers = format!(
        "    openai: {{base_url: \"{url}\"}}
    anthropic: {{base_url: \"{url}\"}}
    dead: {{base_url: \"http://{dead}\", allowed_models: [x]}}
    dead-claude: {{base_url: \"http://{dead}\", api_family: anthropic, allowed_models: [x]}}
"
    );
    let callers = format!(
        "    - {{name: poor, api_key: {POOR_KEY}, tenant_id: acme, policy_overrides: {{max_daily_cost: 0.000000001}}}}
    - {{name: busy, api_key: {BUSY_KEY}-openai, tenant_id: acme, policy_overrides: {{requests_per_minute: 1}}}}
    - {{name: busier, api_key: {BUSY_KEY}-anthropic, tenant_id: acme, policy_overrides: {{requests_per_minute: 1}}}}
"
    );
    let config = config(&providers, "{}", &format!("{PRICES}\nserver:\n  body_bytes_max: 65536\n"));
    let config = config.replace("\npricing:", &format!("{callers}\npricing:"));
    binary().config(&config).start().await
}

#[tokio::test]
async fn every_kind_of_call_works_with_the_official_sdks() {
    let provider = FakeProvider::start();
    let gateway = gateway(&provider).await;
    for (language, yes, vector) in [(PYTHON, "True", "[0.25, 0.5, 0.75]"), (NODE, "true", "[0.25,0.5,0.75]")]
    {
        for door in DOORS {
            let mut wanted = vec![
                format!("chat: {TEXT} 15"),
                format!("chat stream: {TEXT} 0 {yes}"),
                format!("chat stream with usage: {TEXT} 15"),
                format!("responses: {TEXT} 5"),
                format!("responses stream: {TEXT} response.completed 5"),
                format!("embeddings: 2 {vector}"),
                format!("models: {yes} gpt-4o-mini"),
                format!("messages: {TEXT} 5"),
                format!("messages stream: {TEXT} 5"),
                "count: 10".to_owned(),
            ];
            wanted.extend((door == "native").then(|| format!("catalogue: {yes}")));
            assert_eq!(language.prints(&gateway, "calls", door), wanted, "{}, {door}", language.name);
        }
    }
    assert!(provider.requests().iter().all(|request| !request.mentions(KEY)), "no SDK's key went further");
}

#[tokio::test]
async fn tool_calls_work_with_the_official_sdks() {
    let provider = FakeProvider::start();
    provider.reply(Reply::tool("weather", r#"{"city":"Oslo"}"#));
    let gateway = gateway(&provider).await;
    let wanted = [
        r#"chat: weather {"city":"Oslo"}"#,
        r#"chat stream: weather {"city":"Oslo"} tool_calls"#,
        r#"responses: function_call weather {"city":"Oslo"}"#,
        "messages: tool_use weather Oslo",
        "messages stream: tool_use weather Oslo",
    ];
    for language in [PYTHON, NODE] {
        for door in DOORS {
            assert_eq!(language.prints(&gateway, "tools", door), wanted, "{}, {door}", language.name);
        }
    }
}

/// What a script prints of each error: the exception's own class, the status, and the reason as the SDK tells it. The
/// classes that the languages name differently stand in brackets, Python's first.
const ERRORS: &str = "\
openai bad key: AuthenticationError 401 unauthorized
openai budget: PermissionDeniedError 403 budget_exceeded
openai bad body: BadRequestError 400 invalid_request
openai too large: [APIStatusError|APIError] 413 request_too_large
openai too many: RateLimitError 429 rate_limited
openai dead provider: InternalServerError 502 upstream_unreachable
openai provider's 400: BadRequestError 400 its_code
openai provider's 401: AuthenticationError 401 its_code
openai provider's 403: PermissionDeniedError 403 its_code
openai provider's 404: NotFoundError 404 its_code
openai provider's 409: ConflictError 409 its_code
openai provider's 422: UnprocessableEntityError 422 its_code
openai provider's 429: RateLimitError 429 its_code
openai provider's 500: InternalServerError 500 its_code
openai provider's 503: InternalServerError 503 its_code
openai broken stream: APIError None upstream_unreachable
anthropic bad key: AuthenticationError 401 authentication_error unauthorized
anthropic budget: PermissionDeniedError 403 permission_error budget_exceeded
anthropic bad body: BadRequestError 400 invalid_request_error invalid_request
anthropic too large: ContentTooLargeError 413 request_too_large request_too_large
anthropic too many: RateLimitError 429 rate_limit_error rate_limited
anthropic dead provider: InternalServerError 502 api_error upstream_unreachable
anthropic provider's 400: BadRequestError 400 its_own None
anthropic provider's 401: AuthenticationError 401 its_own None
anthropic provider's 403: PermissionDeniedError 403 its_own None
anthropic provider's 404: NotFoundError 404 its_own None
anthropic provider's 409: ConflictError 409 its_own None
anthropic provider's 422: UnprocessableEntityError 422 its_own None
anthropic provider's 429: RateLimitError 429 its_own None
anthropic provider's 500: InternalServerError 500 its_own None
anthropic provider's 503: ServiceUnavailableError 503 overloaded_error None
anthropic broken stream: [APIStatusError 200|APIError None] api_error upstream_unreachable
responses broken stream: APIError None upstream_unreachable
";

/// [`ERRORS`] in the words of one language: the first or the second of each bracket.
fn errors(choice: usize) -> Vec<String> {
    let one = |line: &str| match line.split_once('[').zip(line.split_once(']')) {
        None => line.to_owned(),
        Some(((before, _), (choices, after))) => {
            let choices: Vec<&str> =
                choices.trim_start_matches(before).trim_start_matches('[').split('|').collect();
            format!("{before}{}{after}", choices[choice])
        }
    };
    ERRORS.lines().map(one).collect()
}

#[tokio::test]
async fn every_error_is_raised_as_the_official_sdks_own_exception() {
    for (choice, language) in [PYTHON, NODE].into_iter().enumerate() {
        for door in DOORS {
            let provider = FakeProvider::start();
            provider.on(failing);
            let gateway = gateway(&provider).await;
            let mut wanted = errors(choice);
            wanted.extend(
                (door == "native").then(|| "unknown model: NotFoundError 404 model_not_found".to_owned()),
            );
            assert_eq!(language.prints(&gateway, "errors", door), wanted, "{}, {door}", language.name);
        }
    }
}
