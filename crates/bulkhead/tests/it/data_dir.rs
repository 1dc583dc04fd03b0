//! What a start needs: a data directory, the right secrets, a free port, a store that answers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bh_testkit::{Call, FakeProvider, Gateway, on_both_stores};
use serde_json::json;

use crate::auth::{ADMIN_KEY, BULKHEAD, PROXIED_CHAT, chat, gateway_yaml};

const CALLER: &str = "    - {name: app, tenant_key: acme-key, tenant_id: acme}\n";

on_both_stores! {
    async fn a_wrong_master_key_is_refused_and_the_right_one_still_works(store) {
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        assert!(gateway.terminate().await);
        for (name, setting) in [
            ("BULKHEAD_MASTER_KEY", "secrets.master_key"),
            ("TALON_SECRETS_KEY", "secrets.master_key"),
            ("TALON_SIGNING_KEY", "secrets.evidence_key"),
            ("BULKHEAD_SIGNING_KEY", "secrets.signing_key"),
        ] {
            let wrong = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
            let mut original = None;
            let end = gateway
                .try_restart_as(|same| {
                    original = Some(same.clone());
                    same.env(name, wrong)
                })
                .await
                .expect_err("a wrong secret must not start");
            assert_eq!(end.code, Some(1), "{end}");
            assert!(end.stderr.contains(&format!("`{setting}` is not the one this store was made with")), "{end}");
            assert!(!end.to_string().contains(wrong), "{end}");
            gateway.try_restart_as(|_| original.unwrap()).await.unwrap_or_else(|end| panic!("{name}: {end}"));
            assert!(gateway.terminate().await);
        }
    }
}

fn listed(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Proves: TALON-07
#[tokio::test]
async fn all_state_is_in_the_data_directory_and_a_restart_keeps_it() {
    let provider = FakeProvider::start();
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("deep/state");
    let mut gateway = Gateway::builder(BULKHEAD)
        .config(&gateway_yaml(&provider, CALLER))
        .env("BULKHEAD_DATA_DIR", "")
        .env("TALON_DATA_DIR", data.to_str().unwrap())
        .start()
        .await;
    let call = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer("acme-key").send().await;
    let id = call.header("x-bulkhead-request-id").unwrap().to_owned();
    let record = |gateway: &Gateway| Call::get(gateway.at(&format!("/v1/evidence/{id}"))).bearer("acme-key");
    let before = record(&gateway).send().await;
    assert_eq!(before.status, 200, "{}", before.text());

    let names = listed(&data);
    for wanted in ["bulkhead.db", "server-secrets.json"] {
        assert!(names.iter().any(|name| name == wanted), "{names:?}");
    }
    assert_eq!(mode_of(&data), 0o700);
    for name in &names {
        assert_eq!(mode_of(&data.join(name)) & 0o077, 0, "{name} is its owner's alone");
    }
    // The working directory, which is the home directory too, has nothing that was not there before.
    let home = gateway.config_path().parent().unwrap().to_owned();
    assert_eq!(listed(&home), ["bulkhead.yaml", "data"]);
    assert_eq!(listed(&home.join("data")), [""; 0]);

    let secrets = std::fs::read(data.join("server-secrets.json")).unwrap();
    for graceful in [true, false] {
        if graceful {
            assert!(gateway.terminate().await);
        }
        gateway.restart().await;
        let after = record(&gateway).send().await;
        assert_eq!((after.status, after.text()), (200, before.text()));
        let proof =
            Call::get(gateway.at(&format!("/v1/evidence/{id}/verify"))).bearer("acme-key").send().await;
        assert_eq!(proof.json()["valid"], json!(true));
    }
    assert_eq!(std::fs::read(data.join("server-secrets.json")).unwrap(), secrets, "made once");
}

#[tokio::test]
async fn a_damaged_secrets_file_is_refused_and_left_alone() {
    let mut gateway = Gateway::builder(BULKHEAD).start().await;
    assert!(gateway.terminate().await);
    let path = gateway.data_dir().join("server-secrets.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let end = gateway.try_restart_as(|same| same).await.expect_err("it must not start");
    assert!(end.code == Some(1) && end.stderr.contains("server-secrets.json is damaged"), "{end}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text[..text.len() / 2]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let yaml = format!("server:\n  listen: \"{address}\"\n");
    let end = Gateway::builder(BULKHEAD).config(&yaml).try_start().await.expect_err("the port is taken");
    assert_eq!(end.code, Some(1), "{end}");
    assert!(end.stderr.contains(&format!("cannot listen on {address}: Address already in use")), "{end}");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_data_directory_is_refused() {
    let provider = FakeProvider::start();
    let gateway = Gateway::builder(BULKHEAD).config(&gateway_yaml(&provider, CALLER)).start().await;
    let data = gateway.data_dir();
    let second = Gateway::builder(BULKHEAD).env("BULKHEAD_DATA_DIR", data.to_str().unwrap());
    let end = second.try_start().await.expect_err("two would spend one budget twice");
    assert!(end.code == Some(1) && end.stderr.contains("is in use by another gateway"), "{end}");
    let call = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer("acme-key").send().await;
    assert_eq!(call.status, 200, "the first goes on: {}", call.text());
}

/// Runs the binary without the right to write where permissions forbid it, which root otherwise has.
const WITHOUT_OVERRIDE: &str = "#!/bin/sh
[ \"$(id -u)\" = 0 ] || exec \"$REAL\" \"$@\"
exec setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search \"$REAL\" \"$@\"
";

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bound = folder.path().join("bulkhead-without-override");
    std::fs::write(&bound, WITHOUT_OVERRIDE).unwrap();
    std::fs::set_permissions(&bound, std::fs::Permissions::from_mode(0o755)).unwrap();
    let read_only = folder.path().join("read-only");
    std::fs::create_dir(&read_only).unwrap();
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o555)).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (dir, reason) in [
        (read_only.clone(), "Permission denied"),
        (read_only.join("below"), "Permission denied"),
        (file.clone(), "File exists"),
        (file.join("below"), "Not a directory"),
    ] {
        let dir = dir.to_str().unwrap();
        let builder = Gateway::builder(&bound).env("REAL", BULKHEAD).env("BULKHEAD_DATA_DIR", dir);
        let end = builder.try_start().await.expect_err("it must not start");
        assert_eq!(end.code, Some(1), "{end}");
        assert!(end.stderr.contains(&format!("the data directory {dir} cannot be used: {reason}")), "{end}");
    }
    assert_eq!(listed(&read_only), [""; 0]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_named_without_its_password() {
    let yaml = "store:\n  url: \"postgres://bulkhead:hunter2secret@127.0.0.1:9/bulkhead\"\n";
    let end = Gateway::builder(BULKHEAD).config(yaml).env("TALON_ADMIN_KEY", ADMIN_KEY);
    let end = end.try_start().await.expect_err("nothing listens there");
    assert!(end.code == Some(1) && end.stderr.contains("127.0.0.1:9/bulkhead"), "{end}");
    assert!(!end.to_string().contains("hunter2secret"), "{end}");
}

/// Whether a process was given a name for its environment.
fn has_variable(gateway: &Gateway, name: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{}/environ", gateway.pid())).unwrap();
    environment.split(|&byte| byte == 0).any(|variable| variable.starts_with(name.as_bytes()))
}

#[tokio::test]
async fn a_gateway_whose_program_was_replaced_as_it_started_survives_clients_that_hang_up() {
    const PAGES_KEPT: &str = "MIMALLOC_PURGE_DELAY=";
    assert!(has_variable(&Gateway::builder(BULKHEAD).start().await, PAGES_KEPT), "it started itself anew");
    let home = tempfile::tempdir().unwrap();
    let (script, program) = (home.path().join("start"), home.path().join("program"));
    let (at, from) = (program.display(), BULKHEAD);
    let text = format!(
        "#!/bin/sh\ncp '{from}' '{at}' && exec 3<'{at}' && rm '{at}' && exec /proc/self/fd/3 \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let gateway = Gateway::builder(&script).start().await;
    assert!(!has_variable(&gateway, PAGES_KEPT), "its program cannot be found, so it could not");
    // What a write to a connection that the other side has closed comes with.
    let told = std::process::Command::new("kill").args(["-PIPE", &gateway.pid().to_string()]).status();
    assert!(told.unwrap().success());
    assert_eq!(Call::get(gateway.at("/readyz")).send().await.status, 200);
}
