//! Our own SDKs as their users get them: packed, installed into projects that have nothing else, and run against the
//! real gateway; the snippets of seed 001 among it, word for word but for the packages' names (Connectors dossier §3,
//! §4). The scripts are in `tests/clients/sdk`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bh_domain::usage::UtcDay;
use bh_testkit::{Call, CliOutput, FakeProvider, Gateway, Store, on_both_stores, parts, sdk};

use serde_json::json;

use crate::auth::{ADMIN_KEY, BULKHEAD};
use crate::llm_setup::{CHAT, PATIENCE, PRICES};
use crate::tools_setup::{HERE, server as mcp_server};
use crate::usage::move_to;
use crate::webhooks_setup::{
    QUICK, events_become, failing, gateway as webhook_gateway, issue, local, receiver, yaml,
};

/// The tenant's key as the seed's snippets have it.
const KEY: &str = "acme-corp-api-key";
const KINDS: [&str; 3] = ["typescript", "awaited", "plain"];

/// What the gateway says of a server that it would have to build.
const NOT_BUILT: &str = "A server from `github` has to be built and run, which this release does not do yet: run it yourself, and add it \
                         with `{\"type\": \"http\", \"url\": …}`";

/// What each kind of client is told by the gateway, call by call.
const TOLD: &str = "\
health: ok
ready: ready ok
connection: true
audit: 0
none: 0
add: running
again: ConflictError 409 SERVER_ALREADY_EXISTS named
to be built: NotImplementedError 501 NOT_IMPLEMENTED named
ready: running 5 100
servers: own 5 running
list: own.add
select: 1 own.create_issue 1
tool: a,b
invoke: 42 false
call: 3
its tools: 5
broken: MCPToolError - TOOL_FAILED
categories: custom 5
no tool: ToolNotFoundError 404 TOOL_NOT_FOUND named
remove: gone
gone: ToolNotFoundError 404 TOOL_NOT_FOUND named
oauth: NotImplementedError 501 NOT_IMPLEMENTED named
integrations: NotImplementedError 501 NOT_IMPLEMENTED named
no key: AuthenticationError 401 INVALID_API_KEY named
unknown key: AuthenticationError 401 INVALID_API_KEY named
another tenant: PermissionDeniedError 403 CROSS_TENANT_ACCESS_DENIED named
bad filter: ValidationError 400 VALIDATION_ERROR named
";

/// What the operator's clients are told, step by step.
const ADMINISTERED: &str = "\
its key works: true
made again: ConflictError 409 TENANT_ALREADY_EXISTS
bad plan: ValidationError 400 VALIDATION_ERROR plan
bad field: ValidationError 400 VALIDATION_ERROR limits
updated: 5000 20 false true
got: one One a@one.example enterprise active api 5000
list: four one three two
first two: 2
credentials: two github 2026-12-31T00:00:00.000Z 2026-12-30T23:55:00.000Z repo,user
kept: two github 2026-12-31T00:00:00.000Z 2026-12-30T23:55:00.000Z repo,user
switched off: PermissionDeniedError 403 FEATURE_DISABLED
forgotten: true
none left: NotFoundError 404 NOT_FOUND
suspended: suspended
its call: PermissionDeniedError 403 TENANT_INACTIVE
resumed: active
its next call: true
rotated: string true
the old key: AuthenticationError 401 INVALID_API_KEY
the new key: true
both in grace: true true
a key: ci active read string
its first call: true
its second: RateLimitError RATE_LIMITED 1 0 true
listed: true
ended: true
its last call: AuthenticationError 401 INVALID_API_KEY
fenced: 203.0.113.0/24
from elsewhere: PermissionDeniedError 403 IP_NOT_ALLOWED
trail: 1
unknown: NotFoundError 404 TENANT_NOT_FOUND
deleted: true
list afterwards: one three two
not an admin: AuthenticationError 401 INVALID_API_KEY
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sdk")
}

/// What a program printed that has to end well and complain of nothing.
fn printed(output: &CliOutput) -> Vec<&str> {
    assert!(output.ok() && output.stderr.is_empty(), "{output}");
    output.stdout.lines().collect()
}

async fn gateway(store: Store) -> Gateway {
    let yaml = format!(
        "gateway:
  callers:
    - {{name: app, api_key: {KEY}, tenant_id: acme-corp}}
    - {{name: old, api_key: default-api-key, tenant_id: default}}
{HERE}"
    );
    Gateway::builder(BULKHEAD).store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await
}

/// A gateway where a plan is known and no tenant is.
async fn empty_gateway(store: Store) -> Gateway {
    let yaml = "plans: {enterprise: {}}\nrate_limit: {enabled: true}\n";
    Gateway::builder(BULKHEAD).store(store).config(yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await
}

/// A gateway whose tenant `acme-corp` made two calls in January 2024, the month that the seed's snippets ask for.
async fn used_gateway(store: Store) -> Gateway {
    let provider = FakeProvider::start();
    let billing = "billing: {prices: {api_calls_per_1k: 500}}\nusage: {retention_days: 3650}\n";
    let yaml = format!(
        "gateway:
  providers: {{openai: {{base_url: \"{}\", api_key: sk-openai}}}}
  callers: [{{name: app, api_key: {KEY}, tenant_id: acme-corp}}]
{PRICES}{billing}",
        provider.url()
    );
    let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY);
    let gateway = gateway.start().await;
    let chat = json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..2 {
        assert_eq!(Call::post(gateway.at(CHAT), &chat).bearer(KEY).send().await.status, 200);
    }
    let metrics =
        gateway.at("/api/v1/admin/tenants/acme-corp/metrics?startDate=2026-01-01&endDate=2028-01-01");
    let deadline = Instant::now() + PATIENCE;
    // Records become durable a moment after their answers.
    while Call::get(&metrics).bearer(ADMIN_KEY).send().await.json()["data"]["requests"]["total"] != 2 {
        assert!(Instant::now() < deadline, "the ledger has not counted two calls");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    move_to(&gateway, 0, UtcDay::parse("2024-01-15").unwrap().first_hour().0);
    gateway
}

/// Runs a script of `live` with one kind of client.
fn live(gateway: &Gateway, kind: &str, script: &str) -> CliOutput {
    live_with(gateway, kind, script, "")
}

/// The same, with an MCP server that the tenant can bring.
fn live_with(gateway: &Gateway, kind: &str, script: &str, mcp: &str) -> CliOutput {
    let env = [("GATEWAY", gateway.url()), ("KEY", KEY), ("ADMIN_API_KEY", ADMIN_KEY), ("MCP", mcp)];
    match kind {
        "typescript" => sdk::own_node("project", &[&format!("live/{script}.mjs")], &env),
        plain_or_awaited => {
            sdk::own_python(&clients(), &[&format!("live/{script}.py"), plain_or_awaited], &env)
        }
    }
}

/// Runs snippets of the seed in one program of their language.
fn snippets(gateway: &Gateway, names: &[&str]) -> CliOutput {
    let env = [("GATEWAY", gateway.url()), ("ADMIN_API_KEY", ADMIN_KEY), ("TENANT_KEY", KEY)];
    sdk::own_node("project", &[&["seed001/run.mjs"], names].concat(), &env)
}

#[test]
fn the_typescript_sdk_withstands_a_server_that_misbehaves() {
    let tests = ["test/retries.test.mjs", "test/secrets.test.mjs", "test/surface.test.mjs"];
    let output = sdk::own_node("typescript", &[&["--test"], &tests[..]].concat(), &[]);
    assert!(output.ok() && output.stdout.contains("\n# fail 0\n"), "{output}");
    assert!(!output.stdout.contains("# pass 0\n"), "{output}");
}

#[test]
fn the_python_sdk_withstands_a_server_that_misbehaves() {
    let output = sdk::own_python(&root().join("sdk/python"), &["-m", "pytest", "-q"], &[]);
    assert!(output.ok() && output.stdout.contains(" passed"), "{output}");
}

#[test]
fn the_python_sdk_is_typed_throughout() {
    let cache = parts::own_sdks().join("mypy");
    let args = ["-m", "mypy", "--cache-dir", cache.to_str().unwrap()];
    let output = sdk::own_python(&root().join("sdk/python"), &args, &[]);
    assert!(output.ok() && output.stdout.starts_with("Success: "), "{output}");
}

/// The code of a page, block by block.
fn examples(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<String> =
        text.split(&fence).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect();
    assert!(blocks.len() > 2, "{page} has no examples");
    blocks
}

#[test]
fn the_examples_of_the_documentation_are_programs_that_fit_the_types() {
    // Below the project: there the packages are found.
    let dir = tempfile::tempdir_in(parts::own_sdks().join("project")).unwrap();
    std::fs::write(
        dir.path().join("globals.d.ts"),
        "declare const process: { env: Record<string, string> };",
    )
    .unwrap();
    for (page, language, extension) in [("sdk-typescript.md", "ts", "ts"), ("sdk-python.md", "python", "py")]
    {
        for (index, example) in examples(page, language).iter().enumerate() {
            std::fs::write(dir.path().join(format!("example_{index}.{extension}")), example).unwrap();
        }
    }
    let folder = dir.path().to_str().unwrap();
    let config = r#"{"compilerOptions": {"strict": true, "noEmit": true, "target": "ES2022", "module": "ES2022", "types": [],
        "moduleResolution": "bundler", "moduleDetection": "force", "lib": ["ES2022", "DOM"]}, "include": ["*.ts"]}"#;
    std::fs::write(dir.path().join("tsconfig.json"), config).unwrap();
    let output = sdk::own_node("typescript", &["node_modules/typescript/bin/tsc", "-p", folder], &[]);
    assert!(output.ok(), "{output}");
    let cache = parts::own_sdks().join("mypy");
    let args = ["-m", "mypy", "--strict", "--cache-dir", cache.to_str().unwrap(), "."];
    let output = sdk::own_python(dir.path(), &args, &[]);
    assert!(output.ok(), "{output}");
}

#[test]
fn the_packages_install_into_an_empty_project_and_bring_nothing_along() {
    let modules = parts::own_sdks().join("project/node_modules");
    let names = |dir: &Path| -> Vec<String> {
        let entries =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    };
    assert_eq!(names(&modules), ["@bulkhead"]);
    assert_eq!(names(&modules.join("@bulkhead")), ["admin", "sdk"]);
    assert_eq!(names(&modules.join("@bulkhead/sdk")), ["README.md", "dist", "package.json"]);
    let required = "for (const [name, type] of [['@bulkhead/sdk', 'Connectors'], ['@bulkhead/admin', 'AdminAPI']]) \
                    console.log(require(name)[type].name)";
    let output = sdk::own_node("project", &["--input-type=commonjs", "-e", required], &[]);
    assert_eq!(printed(&output), ["Bulkhead", "AdminAPI"]);
    let installed = "import importlib.metadata as m, importlib.resources as r\n\
                     print(m.requires('bulkhead'), r.files('bulkhead').joinpath('py.typed').is_file())";
    let output = sdk::own_python(&clients(), &["-c", installed], &[]);
    assert_eq!(printed(&output), ["['httpx<1,>=0.25'] True"]);
}

on_both_stores! {
    /// Proves: CONN-42
    async fn our_own_sdks_are_told_what_they_expect_by_a_live_gateway(store) {
        let (gateway, mcp) = (gateway(store).await, mcp_server(&[]));
        let wanted: Vec<&str> = TOLD.lines().collect();
        for kind in KINDS {
            assert_eq!(printed(&live_with(&gateway, kind, "live", &mcp.url())), wanted, "{kind}");
        }
    }

    /// The example that onboards a whole customer base, and shows how far it is; run again, it goes on.
    async fn the_sdk_makes_hundreds_of_tenants_in_one_run_and_leaves_alone_what_is_there(store) {
        let gateway = empty_gateway(store).await;
        let env = [("BULKHEAD_URL", gateway.url()), ("BULKHEAD_ADMIN_KEY", ADMIN_KEY)];
        let run = |count: &str| sdk::own_node("typescript", &["examples/onboard.mjs", count], &env);
        let first = run("200");
        assert!(first.ok() && first.stderr.contains("] 200/200 100 % "), "{first}");
        let made: BTreeMap<&str, &str> = first.stdout.lines().map(|line| line.split_once(',').unwrap()).collect();
        let ids: Vec<String> = (1..=200).map(|n| format!("customer-{n:06}")).collect();
        assert!(made.keys().eq(ids.iter()), "{first}");
        let opens = async |id: &str| Call::get(gateway.at("/v1/costs")).bearer(made[id]).send().await.status;
        assert_eq!((opens("customer-000001").await, opens("customer-000200").await), (200, 200));
        let second = run("250");
        assert!(second.ok() && second.stderr.contains("250/250 100 % ") && second.stderr.contains(", 200 were there"), "{second}");
        assert_eq!(second.stdout.lines().count(), 50, "{second}");
        let refused = sdk::own_node("typescript", &["examples/onboard.mjs", "9"], &[("BULKHEAD_URL", gateway.url())]);
        assert!(!refused.ok() && refused.stderr.contains("adminKey"), "{refused}");
    }

    /// Proves: CONN-44
    async fn our_own_sdks_administer_tenants(store) {
        let wanted: Vec<&str> = ADMINISTERED.lines().collect();
        for kind in KINDS {
            let gateway = empty_gateway(store).await;
            assert_eq!(printed(&live(&gateway, kind, "admin")), wanted, "{kind}");
        }
    }

    /// Proves: CONN-44
    async fn the_seeds_administration_runs_as_printed(store) {
        let gateway = empty_gateway(store).await;
        let all = ["create", "update_get_list", "store_credentials", "rotate", "allowed_ips", "default_tenant"];
        let output = snippets(&gateway, &all);
        let mut told = printed(&output);
        // Node prints an object on several lines, from one with its brace to the next brace alone.
        let used = told.iter().position(|line| *line == "Usage: {").unwrap();
        let end = told.iter().position(|line| *line == "}").unwrap();
        let usage: Vec<&str> = told.splice(used + 1..=end, []).collect();
        assert!(usage.iter().any(|line| line.trim() == "apiCalls: 0,"), "{usage:?}");
        let key = |line: &str, before: &str| line.strip_prefix(before).unwrap().to_owned();
        let (first, second) = (key(told[2], "API Key: "), key(told[9], "New API key: "));
        let wanted = [
            "# create", "Tenant created: acme-corp", told[2],
            "# update_get_list", "Plan: enterprise", told[5], "Total tenants: 2",
            "# store_credentials", "# rotate", told[9], "# allowed_ips", "# default_tenant",
        ];
        assert_eq!(told, wanted);
        let audit = |key: &str| Call::get(gateway.at("/api/v1/audit")).bearer(key);
        assert_eq!(audit(&first).send().await.status, 401, "the first key died when it was rotated");
        // The snippets have fenced the tenant in, away from here.
        let fenced = audit(&second).send().await;
        assert_eq!((fenced.status, &fenced.json()["error"]["code"]), (403, &json!("IP_NOT_ALLOWED")));
    }

    async fn the_seeds_clients_reach_their_tenant(store) {
        let gateway = gateway(store).await;
        let told = format!("NotImplementedError NOT_IMPLEMENTED: {NOT_BUILT}");
        let output = snippets(&gateway, &["tenant", "deploy", "step4_before", "step4_after"]);
        let fourth = ["# step4_before", "health ok", "# step4_after", "health ok default 0"];
        assert_eq!(printed(&output), [&["# tenant", &told, "# deploy", &told], &fourth[..]].concat());
        let env = [("GATEWAY", gateway.url())];
        let output = sdk::own_python(&clients(), &["seed001/run.py", "tenant"], &env);
        assert_eq!(printed(&output), ["# tenant", &told]);
    }

    /// Proves: CONN-41
    async fn the_seeds_express_proxy_runs_on_our_sdk(store) {
        let (gateway, mcp) = (gateway(store).await, mcp_server(&[]));
        let add = json!({"name": "tracker", "source": {"type": "http", "url": mcp.url()}, "category": "custom"});
        assert_eq!(Call::post(gateway.at("/api/v1/mcp/add"), &add).bearer(KEY).send().await.status, 202);
        let output = snippets(&gateway, &["express"]);
        let lines = printed(&output);
        let outside = [
            "# express",
            r#"without a key 401 {"error":"Missing tenant ID or API key"}"#,
            r#"with another 500 {"error":"Invalid or missing tenant key"}"#,
        ];
        assert_eq!([lines[0], lines[1], lines[3]], outside, "{output}");
        // "open an issue", asked through the proxy.
        let chosen: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("with its key 200 ").unwrap()).unwrap();
        let chosen = &chosen["tools"][0];
        assert_eq!((&chosen["id"], &chosen["score"]), (&json!("tracker.create_issue"), &json!(1)), "{output}");
        assert_eq!(chosen["parameters"]["required"], json!(["repo"]));
    }

    /// Proves: CONN-14
    async fn the_seeds_metrics_and_bills_tell_what_was_used(store) {
        let gateway = used_gateway(store).await;
        let wanted = [
            "# metrics", "Tenant Metrics:", "- Total requests: 2", "- Tool invocations: 0", "- Custom servers: 0",
            "- Token usage: 30", "- Cost: $0.00012",
            "# usage", "Usage Report:", "- API calls: 2 ($1)", "- Tool invocations: 0 ($0)", "- Custom servers: 0 ($0)",
            "- Total: $1.00012",
            "# billing",
            r#"invoice {"tenantId":"acme-corp","month":"2024-01","amount":"1.00012","lineItems":[{"description":"API calls","amount":"1"},{"description":"Tool invocations","amount":"0"},{"description":"Custom servers","amount":"0"}]}"#,
            r#"webhook 200 {"success":true}"#,
        ];
        assert_eq!(printed(&snippets(&gateway, &["metrics", "usage", "billing"])), wanted);
        let metrics = "2 2 30 20 0.00012 USD 1 true";
        let month = ["2024-01 2 1 0.00012 1.00012 USD", "API calls 2 500 1000 1"];
        let all = [metrics, metrics, month[0], month[1], month[0], month[1], "0", "ValidationError VALIDATION_ERROR"];
        for kind in KINDS {
            assert_eq!(printed(&live(&gateway, kind, "usage")), all, "{kind}");
        }
    }

    async fn our_own_sdks_tell_what_receivers_did_not_take(store) {
        let wanted = [
            "key.created acme 0 0",
            "1 ops dead 1 500 key.created",
            "true key.created acme answered 500",
            "ops 0 1",
            "true",
            "false 500",
            "billing.period_closed true",
            "NotFoundError 404",
        ];
        for kind in KINDS {
            let receiver = receiver();
            receiver.on(|_| Some(failing()));
            let yaml = yaml(&[local("ops", &receiver, "")], &format!("{QUICK}  attempts_max: 1\n"));
            let gateway = webhook_gateway(store, &yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
            issue(&gateway, "acme", "first").await;
            events_become(&gateway, "&state=dead", 1).await;
            assert_eq!(printed(&live(&gateway, kind, "webhooks")), wanted, "{kind}");
        }
    }
}
