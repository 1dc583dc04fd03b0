//! `bulkhead audit` and `bulkhead costs` through the real binary, beside a running gateway.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::hmac;
use bh_testkit::{Call, CliOutput, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_bulkhead");
const ACME_KEY: &str = "acme-key-0123456789abcdef";
const GLOBEX_KEY: &str = "globex-key-0123456789abcdef";

fn config(provider: &FakeProvider) -> String {
    format!(
        "gateway:\n  providers:\n    openai:\n      base_url: \"{}\"\n      api_key: \"provider-key\"\n  callers:\n    \
         - name: acme-app\n      api_key: \"{ACME_KEY}\"\n      tenant_id: acme\n      policy_overrides:\n        blocked_models: [\"gpt-4o\"]\n    \
         - name: globex-bot\n      api_key: \"{GLOBEX_KEY}\"\n      tenant_id: globex\n",
        provider.url()
    )
}

/// A gateway after three calls of acme and two of globex.
struct Scene {
    gateway: Gateway,
    _provider: FakeProvider,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new(store: Store) -> Self {
        let provider = FakeProvider::start();
        let gateway = Gateway::builder(BINARY).config(&config(&provider)).store(store).start().await;
        let scene = Self { gateway, _provider: provider, folder: tempfile::tempdir().unwrap() };
        for key in [ACME_KEY, GLOBEX_KEY, ACME_KEY, GLOBEX_KEY, ACME_KEY] {
            scene.call(key).await;
        }
        scene
    }

    async fn call(&self, key: &str) {
        assert_eq!(self.status(key, "gpt-4o-mini").await, 200);
    }

    async fn status(&self, key: &str, model: &str) -> u16 {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
        let call = Call::post(self.gateway.at("/v1/proxy/openai/v1/chat/completions"), &body);
        call.bearer(key).header("x-bulkhead-session-id", "tour").send().await.status
    }

    /// Runs a command that must succeed, and returns its standard output.
    fn cli(&self, args: &[&str]) -> String {
        let run = self.gateway.cli(args);
        assert!(run.ok(), "{args:?}: {run}");
        run.stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.cli(args)).unwrap()
    }

    /// Exports a tenant to a file of this name.
    fn export(&self, tenant: &str, format: &str, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let file = path.to_str().unwrap();
        self.cli(&["audit", "export", "--tenant", tenant, "--format", format, "--output", file]);
        path
    }

    fn public_key(&self) -> String {
        let checkpoint = self.json(&["audit", "checkpoint", "--tenant", "acme", "--json"]);
        checkpoint[0]["public_key"].as_str().unwrap().to_owned()
    }

    /// Ids of acme's records, oldest first.
    fn ids(&self) -> Vec<String> {
        let list = self.json(&["audit", "list", "--tenant", "acme", "--json"]);
        let ids = list.as_array().unwrap().iter().rev();
        ids.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Changes the database behind the gateway's back.
    fn tamper(&self, statement: &str) {
        if let Some(database) = self.gateway.database() {
            assert_eq!(database.sql(statement), "");
            return;
        }
        let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db: db.execute(sys.argv[2])";
        let file = self.gateway.data_dir().join("bulkhead.db");
        let run = Command::new("python3").args(["-c", script]).arg(file).arg(statement).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
}

/// Runs the binary where there is nothing but what is named: no configuration, no store, no secret.
fn offline(args: &[&str], env: &[(&str, &str)]) -> CliOutput {
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(args).env_clear().envs(env.iter().copied()).current_dir(nowhere.path());
    let run = command.output().unwrap();
    assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0, "nothing was left behind");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CliOutput { code: run.status.code(), stdout: text(run.stdout), stderr: text(run.stderr) }
}

fn verify(file: &Path, key: &str) -> CliOutput {
    offline(&["audit", "verify", "--file", file.to_str().unwrap(), "--public-key", key], &[])
}

/// Fails unless verification of `text` fails and says `why`.
fn refused(scene: &Scene, text: &str, why: &str) {
    let path = scene.folder.path().join("changed");
    std::fs::write(&path, text).unwrap();
    let run = verify(&path, &scene.public_key());
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "INVALID\n"), "{run}");
    assert!(run.stderr.contains(why), "expected `{why}` in {run}");
}

on_both_stores! {
    /// Proves: TALON-09, TALON-42
    async fn a_tenants_export_verifies_anywhere_with_the_public_key_alone(store) {
        let scene = Scene::new(store).await;
        let key = scene.public_key();
        let key_file = scene.folder.path().join("key");
        std::fs::write(&key_file, format!("{key}\n")).unwrap();
        for format in ["signed-json", "signed-ndjson"] {
            let path = scene.export("acme", format, format);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains("acme-app") && !text.contains("globex"), "{text}");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            for given in [key.as_str(), key_file.to_str().unwrap()] {
                let run = verify(&path, given);
                assert!(run.ok() && run.stdout.starts_with("VALID: 3 records\n"), "{run}");
                assert_eq!(run.stderr, "");
            }
        }
        let everybody = scene.folder.path().join("everybody");
        let file = everybody.to_str().unwrap();
        scene.cli(&["audit", "export", "--format", "signed-json", "--output", file]);
        let run = verify(&everybody, &key);
        assert!(run.ok() && run.stdout.starts_with("VALID: 5 records\n"), "{run}");
        assert!(run.stdout.contains("acme") && run.stdout.contains("globex"), "{run}");
    }

    /// Proves: TALON-42
    async fn a_deleted_row_is_named_as_a_gap(store) {
        let scene = Scene::new(store).await;
        let sound = scene.json(&["audit", "verify", "--all", "--json"]);
        let counts: Vec<_> = sound.as_array().unwrap().iter()
            .filter(|one| one["records"] != 0)
            .map(|one| (one["tenant_id"].as_str().unwrap(), one["records"].as_u64().unwrap(), one["valid"] == true))
            .collect();
        assert_eq!(counts, [("acme", 3, true), ("globex", 2, true)]);

        let ids = scene.ids();
        scene.tamper(&format!("DELETE FROM evidence WHERE id = '{}'", ids[1]));
        let run = scene.gateway.cli(&["audit", "verify", "--all"]);
        let gap = format!("tenant acme: record at index 1, id {}, seq 3: record 2 of tenant acme is missing here", ids[2]);
        assert!(run.code == Some(1) && run.stderr.contains(&gap), "{run}");
        let verdict = |tenant: &str| {
            let line = run.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(tenant));
            line.and_then(|line| line.split_whitespace().next()).map(str::to_owned)
        };
        assert_eq!((verdict("acme").as_deref(), verdict("globex").as_deref()), (Some("INVALID"), Some("VALID")));
        let neighbour = scene.gateway.cli(&["audit", "verify", &ids[2]]);
        assert!(neighbour.code == Some(1) && neighbour.stderr.contains("record 2 of the chain is missing"), "{neighbour}");
        let other = scene.gateway.cli(&["audit", "verify", "--all", "--tenant", "globex"]);
        assert!(other.ok(), "{other}");
    }

    /// Proves: TALON-09
    async fn a_column_that_says_other_than_its_record_is_named(store) {
        let scene = Scene::new(store).await;
        let ids = scene.ids();
        for (change, back, column) in [
            ("caller = 'x'", "caller = 'acme-app'", "caller"),
            ("model = 'x' || model", "model = substr(model, 2)", "model"),
            ("allowed = 1 - allowed", "allowed = 1 - allowed", "decision"),
            ("at_ms = at_ms + 1", "at_ms = at_ms - 1", "instant"),
            ("session_id = 'x'", "session_id = 'tour'", "session"),
        ] {
            scene.tamper(&format!("UPDATE evidence SET {change} WHERE id = '{}'", ids[1]));
            let run = scene.gateway.cli(&["audit", "verify", "--all"]);
            let told = format!("tenant acme: record at seq 2, id {}: the stored {column} is not the one in the record", ids[1]);
            assert!(run.code == Some(1) && run.stderr.contains(&told), "{run}");
            scene.tamper(&format!("UPDATE evidence SET {back} WHERE id = '{}'", ids[1]));
            assert!(scene.gateway.cli(&["audit", "verify", "--all"]).ok(), "{column} is put back");
        }
    }

    /// Proves: TALON-09
    async fn an_edited_row_is_named_by_every_way_to_verify(store) {
        let scene = Scene::new(store).await;
        let ids = scene.ids();
        let session = ["audit", "verify", "--session", "tour", "--tenant", "acme"];
        assert!(scene.cli(&["audit", "verify", &ids[1]]).contains("VALID"));
        assert_eq!(scene.cli(&session).matches("VALID").count(), 3);
        scene.tamper(&format!(
            "UPDATE evidence SET record = replace(record, 'acme-app', 'acme-apq') WHERE id = '{}'", ids[1]
        ));
        for args in [&["audit", "verify", ids[1].as_str()][..], &["audit", "verify", "--all"], &session] {
            let run = scene.gateway.cli(args);
            assert!(run.code == Some(1) && run.stderr.contains(&ids[1]), "{args:?}: {run}");
        }
        let path = scene.export("acme", "signed-json", "edited");
        let run = verify(&path, &scene.public_key());
        assert!(run.code == Some(1) && run.stderr.contains(&format!("id {}, seq 2", ids[1])), "{run}");
    }

    /// Proves: TALON-09
    async fn evidence_is_read_after_the_gateway_has_ended_well_or_badly(store) {
        let mut scene = Scene::new(store).await;
        assert!(scene.gateway.terminate().await);
        assert_eq!(scene.cli(&["audit", "verify", "--all", "--tenant", "acme"]).matches("VALID").count(), 1);
        scene.gateway.restart().await;
        scene.call(ACME_KEY).await;
        scene.gateway.kill9();
        assert_eq!(scene.ids().len(), 4);
        let all = scene.json(&["audit", "verify", "--all", "--tenant", "acme", "--json"]);
        assert_eq!((&all[0]["records"], &all[0]["valid"]), (&json!(4), &json!(true)));
    }

    /// Proves: TALON-09
    async fn records_are_listed_shown_and_exported_as_tables(store) {
        let scene = Scene::new(store).await;
        let ids = scene.ids();
        let list = scene.cli(&["audit", "list", "--limit", "2"]);
        assert_eq!(list.lines().count(), 3, "{list}");
        let shown: Value = serde_json::from_str(&scene.cli(&["audit", "show", &ids[0], "--json"])).unwrap();
        assert_eq!((&shown["seq"], &shown["tenant_id"], &shown["agent_id"]), (&json!(1), &json!("acme"), &json!("acme-app")));
        assert!(scene.cli(&["audit", "show", &ids[0]]).contains("execution.tokens.input"));
        let hidden = scene.gateway.cli(&["audit", "show", &ids[0], "--tenant", "globex"]);
        assert!(hidden.code == Some(1) && hidden.stdout.is_empty(), "{hidden}");

        let rows = scene.json(&["audit", "export", "--tenant", "acme"]);
        assert_eq!(rows.as_array().map(Vec::len), Some(3));
        let csv = scene.cli(&["audit", "export", "--tenant", "acme", "--format", "csv", "--limit", "1"]);
        assert!(csv.starts_with("id,timestamp,tenant_id,agent_id,") && csv.lines().count() == 2, "{csv}");
        assert_eq!(scene.status(ACME_KEY, "gpt-4o").await, 403);
        let denied = scene.json(&["audit", "export", "--tenant", "acme", "--violations-only"]);
        let [row] = &denied.as_array().unwrap()[..] else { panic!("{denied}") };
        assert_eq!((&row["allowed"], &row["agent_id"]), (&json!(false), &json!("acme-app")));
        let page = scene.cli(&["audit", "export", "--tenant", "acme", "--format", "html"]);
        assert!(page.contains("<p>4 records, 1 denied.</p>") && page.contains(&scene.public_key()), "{page}");
        assert!(!page.contains("globex"));
        let nobody = scene.gateway.cli(&["audit", "list", "--tenant", "nobody"]);
        assert!(nobody.code == Some(1) && nobody.stderr.contains("there is no tenant `nobody`"), "{nobody}");
    }

    /// The ledger and the evidence say the same.
    async fn costs_equal_the_sum_over_evidence(store) {
        let scene = Scene::new(store).await;
        let cost = |row: &Value, name: &str| row[name].as_str().unwrap().replace('.', "").parse::<u64>().unwrap();
        let rows = scene.json(&["costs", "export", "--format", "json", "--tenant", "acme"]);
        let sum: u64 = rows.as_array().unwrap().iter().map(|row| cost(row, "cost_eur")).sum();
        assert!(sum > 0, "{rows}");
        let callers = scene.json(&["costs", "--tenant", "acme", "--json"]);
        let [acme] = &callers.as_array().unwrap()[..] else { panic!("{callers}") };
        assert_eq!((acme["agent_id"].as_str(), acme["calls_this_month"].as_u64()), (Some("acme-app"), Some(3)));
        assert_eq!((cost(acme, "monthly"), cost(acme, "daily")), (sum, sum));
        for (by, name) in [("--by-model", "model"), ("--by-provider", "provider")] {
            let shares = scene.json(&["costs", "--tenant", "acme", by, "--json"]);
            let [share] = &shares.as_array().unwrap()[..] else { panic!("{shares}") };
            assert_eq!((cost(share, "monthly"), share["records"].as_u64()), (sum, Some(3)));
            assert!(share[name].is_string(), "{share}");
        }
        let table = scene.cli(&["costs"]);
        assert!(table.contains("acme-app") && table.contains("globex-bot"), "{table}");
        let csv = scene.cli(&["costs", "export", "--format", "csv"]);
        assert!(csv.starts_with("evidence_id,tenant_id,") && csv.lines().count() == 6, "{csv}");
    }
}

/// Proves: TALON-09, TALON-42
#[tokio::test]
async fn whatever_is_done_to_an_export_the_first_bad_record_is_named() {
    let scene = Scene::new(Store::Sqlite).await;
    let ids = scene.ids();
    let export = std::fs::read_to_string(scene.export("acme", "signed-ndjson", "export")).unwrap();
    let lines: Vec<&str> = export.lines().collect();
    let [metadata, one, two, three] = lines[..] else { panic!("{export}") };
    let file = |lines: &[&str]| lines.join("\n") + "\n";
    let named = |index: usize, seq: usize, why: &str| {
        format!("record at index {index}, id {}, seq {seq}: {why}", ids[seq - 1])
    };

    let flipped = two.replacen("gpt-4o-mini", "gpt-4o-minj", 1);
    refused(
        &scene,
        &file(&[metadata, one, &flipped, three]),
        &named(1, 2, "its content or signature was changed"),
    );
    let deleted = named(1, 3, "record 2 of tenant acme is missing here");
    refused(&scene, &file(&[metadata, one, three]), &deleted);
    refused(
        &scene,
        &file(&[metadata, one, two]),
        "record at index 2: record 3 of tenant acme is missing here",
    );
    refused(
        &scene,
        &file(&[metadata, two, one, three]),
        &named(0, 2, "record 1 belongs here and comes later"),
    );
    refused(&scene, &file(&[metadata, one, two, two, three]), &named(2, 2, "it occurs twice"));
    let globex = std::fs::read_to_string(scene.export("globex", "signed-ndjson", "globex")).unwrap();
    let stranger = globex.lines().nth(1).unwrap();
    refused(
        &scene,
        &file(&[metadata, one, two, three, stranger]),
        "it belongs to tenant globex, which is not in this export",
    );
    let fewer = metadata.replacen("\"total_records\":3", "\"total_records\":2", 1);
    refused(&scene, &file(&[&fewer, one, two, three]), "the signature of the export's metadata is wrong");
}

/// Proves: TALON-42
#[tokio::test]
async fn an_export_that_vouches_for_itself_says_so_and_another_key_does_not_do() {
    let scene = Scene::new(Store::Sqlite).await;
    let path = scene.export("acme", "signed-json", "export");
    let file = path.to_str().unwrap();
    let run = offline(&["audit", "verify", "--file", file], &[]);
    assert!(run.ok() && run.stdout.starts_with("VALID: 3 records\n"), "{run}");
    assert!(run.stderr.contains("not who signed"), "{run}");
    let other = verify(&path, &"ab".repeat(32));
    assert!(other.code == Some(1) && other.stderr.contains("signed with another key"), "{other}");
    let unread = offline(&["audit", "verify", "--file", "no-such-file"], &[]);
    assert!(unread.code == Some(1) && unread.stderr.contains("no-such-file cannot be read"), "{unread}");
    let csv = scene.export("acme", "ndjson", "plain");
    let plain = verify(&csv, &scene.public_key());
    assert!(plain.code == Some(1) && plain.stderr.contains("is not a signed export"), "{plain}");
    let confused = offline(&["audit", "verify"], &[]);
    assert_eq!((confused.code, confused.stdout.as_str()), (Some(2), ""));
}

/// A record as Talon's encoder writes and signs it (dossier section 5.2).
fn talon_record(number: u32, key: &str) -> String {
    let unsigned = format!(
        "{{\"id\":\"gw_{number:012}\",\"correlation_id\":\"req_{number:08}\",\"timestamp\":\"2026-11-20T09:30:00.123456789Z\",\
         \"tenant_id\":\"acme\",\"agent_id\":\"app\",\"invocation_type\":\"gateway\",\"policy_decision\":{{\"allowed\":true,\
         \"action\":\"allow\",\"reasons\":[\"a \\u003cb\\u003e \\u0026 c\"],\"policy_version\":\"1\"}},\"execution\":{{\
         \"model_used\":\"gpt-4o\",\"cost\":1.5e-07,\"tokens\":{{\"input\":10,\"output\":2}},\"duration_ms\":5}},\
         \"audit_trail\":{{\"input_hash\":\"\",\"output_hash\":\"\"}},\"signature\":\"\"}}"
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), unsigned.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    unsigned.replace("\"signature\":\"\"", &format!("\"signature\":\"hmac-sha256:{hex}\""))
}

/// Proves: TALON-46
#[test]
fn a_signed_export_of_talon_verifies_with_its_hmac_key() {
    const KEY: &str = "a signing key of at least 32 bytes";
    const METADATA: &str = r#"{"generated_at":"2026-11-20T10:00:00Z","talon_version":"1.7.0","filter":{"tenant":"acme"},"total_records":2,"algorithm":"HMAC-SHA256","signed":true}"#;
    let folder = tempfile::tempdir().unwrap();
    let (file, key_file) = (folder.path().join("export"), folder.path().join("key"));
    std::fs::write(&key_file, format!("{KEY}\n")).unwrap();
    let verify = |text: &str, args: &[&str], env: &[(&str, &str)]| {
        std::fs::write(&file, text).unwrap();
        offline(&[&["audit", "verify", "--file", file.to_str().unwrap()], args].concat(), env)
    };
    let records = [talon_record(1, KEY), talon_record(2, KEY)];
    let document = format!("{{\"export_metadata\":{METADATA},\"records\":[{},{}]}}", records[0], records[1]);
    let lines = format!("{{\"export_metadata\":{METADATA}}}\n{}\n{}\n", records[0], records[1]);
    let with_file = ["--hmac-key-file", key_file.to_str().unwrap()];
    for text in [&document, &lines] {
        for run in [verify(text, &with_file, &[]), verify(text, &[], &[("TALON_SIGNING_KEY", KEY)])] {
            assert_eq!((run.code, run.stdout.as_str()), (Some(0), "VALID: 2 records\n"), "{run}");
        }
    }
    let edited = verify(&lines.replacen("\"input\":10", "\"input\":11", 1), &with_file, &[]);
    assert_eq!((edited.code, edited.stdout.as_str()), (Some(1), "INVALID\n"), "{edited}");
    assert!(edited.stderr.contains("record at index 0, id gw_000000000001: invalid_signature"), "{edited}");
    let short = verify(&format!("{{\"export_metadata\":{METADATA}}}\n{}\n", records[0]), &with_file, &[]);
    assert!(short.code == Some(1) && short.stderr.contains("says 2 records, and there are 1"), "{short}");
    let keyless = verify(&lines, &[], &[]);
    assert!(keyless.code == Some(1) && keyless.stderr.contains("--hmac-key-file"), "{keyless}");
    let wrong = verify(&lines, &[], &[("TALON_SIGNING_KEY", "another key of more than 32 bytes!")]);
    assert!(wrong.code == Some(1) && !format!("{wrong}").contains("another key of"), "{wrong}");
    let downgraded = verify(&lines, &["--public-key", &"ab".repeat(32)], &[]);
    assert!(
        downgraded.code == Some(1) && downgraded.stderr.contains("not signed with a public key"),
        "{downgraded}"
    );
}
