//! Our own SDKs as their users get them: packed, installed into projects that have nothing else, and run against the
//! real gateway; the snippets of seed 001 among it, word for word but for the packages' names (Connectors dossier §3,
//! §4). The scripts are in `tests/clients/sdk`.

use std::path::{Path, PathBuf};

use bh_testkit::{CliOutput, Gateway, Store, on_both_stores, parts, sdk};

use crate::auth::{ADMIN_KEY, BULKHEAD};

/// The tenant's key as the seed's snippets have it.
const KEY: &str = "acme-corp-api-key";
const KINDS: [&str; 3] = ["typescript", "awaited", "plain"];

/// What the gateway says of a function that a later release brings.
const NOT_YET: &str = "Your key may use this endpoint, but this release does not serve it yet";

/// What each kind of client is told by the gateway, call by call.
const TOLD: &str = "\
health: ok
ready: ready ok
connection: true
audit: 0
select: NotImplementedError 501 NOT_IMPLEMENTED named
list: NotImplementedError 501 NOT_IMPLEMENTED named
tool: NotImplementedError 501 NOT_IMPLEMENTED named
invoke: NotImplementedError 501 NOT_IMPLEMENTED named
categories: NotImplementedError 501 NOT_IMPLEMENTED named
add: NotImplementedError 501 NOT_IMPLEMENTED named
servers: NotImplementedError 501 NOT_IMPLEMENTED named
call: NotImplementedError 501 NOT_IMPLEMENTED named
remove: NotImplementedError 501 NOT_IMPLEMENTED named
oauth: NotImplementedError 501 NOT_IMPLEMENTED named
integrations: NotImplementedError 501 NOT_IMPLEMENTED named
no key: AuthenticationError 401 INVALID_API_KEY named
unknown key: AuthenticationError 401 INVALID_API_KEY named
another tenant: PermissionDeniedError 403 CROSS_TENANT_ACCESS_DENIED named
bad filter: ValidationError 400 VALIDATION_ERROR named
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
"
    );
    Gateway::builder(BULKHEAD).store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await
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
        let gateway = gateway(store).await;
        let wanted: Vec<&str> = TOLD.lines().collect();
        for kind in KINDS {
            let env = [("GATEWAY", gateway.url()), ("KEY", KEY)];
            let output = match kind {
                "typescript" => sdk::own_node("project", &["live/live.mjs"], &env),
                plain_or_awaited => sdk::own_python(&clients(), &["live/live.py", plain_or_awaited], &env),
            };
            assert_eq!(printed(&output), wanted, "{kind}");
        }
    }

    async fn the_seeds_clients_reach_their_tenant(store) {
        let gateway = gateway(store).await;
        let told = format!("NotImplementedError NOT_IMPLEMENTED: {NOT_YET}");
        let output = snippets(&gateway, &["tenant", "deploy", "step4_before", "step4_after"]);
        let fourth = ["# step4_before", "health ok", "# step4_after", "health ok default 0"];
        assert_eq!(printed(&output), [&["# tenant", &told, "# deploy", &told], &fourth[..]].concat());
        let env = [("GATEWAY", gateway.url())];
        let output = sdk::own_python(&clients(), &["seed001/run.py", "tenant"], &env);
        assert_eq!(printed(&output), ["# tenant", &told]);
    }

    async fn the_seeds_express_proxy_runs_on_our_sdk(store) {
        let gateway = gateway(store).await;
        let output = snippets(&gateway, &["express"]);
        let not_yet = format!(r#"with its key 500 {{"error":"{NOT_YET}"}}"#);
        let wanted = [
            "# express",
            r#"without a key 401 {"error":"Missing tenant ID or API key"}"#,
            &not_yet,
            r#"with another 500 {"error":"Invalid or missing tenant key"}"#,
        ];
        assert_eq!(printed(&output), wanted);
    }
}
