//! The harness is tried on a shell script that behaves like a gateway.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Gateway;
use crate::Store;

const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
  audit) echo "records of $BULKHEAD_DATA_DIR"; exit 3 ;;
  refuse) echo "config error" >&2; exit 2 ;;
esac
trap 'echo reloaded; cat "$BULKHEAD_CONFIG"' HUP
trap 'exit 0' TERM
echo "$GREETING $0" 
echo state >> "$BULKHEAD_DATA_DIR/state"
echo "listening on http://127.0.0.1:$$ (pid $$)" >&2
while :; do sleep 0.05; done
"#;

fn script(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("fake-gateway");
    std::fs::write(&path, SCRIPT).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_gateway_starts_reloads_restarts_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Gateway::builder(script(&dir)).config("a: 1\n").env("GREETING", "good day");
    let mut gateway = builder.start().await;
    assert_eq!(gateway.url(), format!("http://127.0.0.1:{}", gateway.pid()));
    assert!(gateway.prints("good day", Duration::from_secs(5)).await);

    gateway.reload("b: 2\n");
    assert!(
        gateway.prints("reloaded\nserver:\n  listen: \"127.0.0.1:0\"\nb: 2\n", Duration::from_secs(5)).await
    );

    let first = gateway.pid();
    gateway.restart().await;
    assert_ne!(gateway.pid(), first);
    assert!(gateway.output().contains("reloaded"), "earlier output is kept");
    assert_eq!(gateway.files(), [(gateway.data_dir().join("state"), b"state\nstate\n".to_vec())]);
    assert!(gateway.peak_rss_kib() > 0);

    let end = gateway.try_restart_as(|same| same.args(&["refuse"])).await.unwrap_err();
    assert_eq!((end.code, end.stderr.as_str()), (Some(2), "config error\n"));
    gateway.try_restart_as(|same| same.args(&["serve"])).await.unwrap();

    let records = gateway.cli(&["audit"]);
    assert_eq!((records.code, records.ok()), (Some(3), false));
    assert_eq!(records.stdout, format!("records of {}\n", gateway.data_dir().display()));
    assert!(gateway.terminate().await);
}

#[tokio::test]
async fn a_refusal_to_start_is_returned_whole() {
    let dir = tempfile::tempdir().unwrap();
    let end = Gateway::builder(script(&dir)).args(&["refuse"]).try_start().await.unwrap_err();
    assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (Some(2), "", "config error\n"));
}

#[tokio::test]
async fn a_gateway_on_postgres_is_given_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder(script(&dir)).store(Store::Postgres).start().await;
    let config = std::fs::read_to_string(gateway.config_path()).unwrap();
    let url = gateway.database().unwrap().url();
    assert_eq!(config, format!("store:\n  url: \"{url}\"\nserver:\n  listen: \"127.0.0.1:0\"\n"));
}

#[tokio::test]
async fn a_dropped_gateway_leaves_no_process_and_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder(script(&dir)).start().await;
    let (process, folder) = (PathBuf::from(format!("/proc/{}", gateway.pid())), gateway.data_dir());
    drop(gateway);
    assert!(!process.exists() && !folder.exists());
}
