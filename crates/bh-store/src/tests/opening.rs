//! What can be wrong with a place, and how it is told.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bh_app::ports::{BudgetStore as _, EvidenceFilter, EvidenceStore as _};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_testkit::{Store, on_both_stores};

use super::fixture::{Fixture, NEWER, holder, nid, record, system};
use crate::migrate::VERSION;
use crate::{Access, OpenFault, Options, open};

const READ: Options = Options { access: Access::Read, connections_max: 2 };

async fn refused(url: &str) -> OpenFault {
    open(url, Options::default()).await.expect_err("the store cannot be opened")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

on_both_stores! {
    async fn what_was_kept_is_there_after_a_restart(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.append(vec![record(nid(1), 1, 10)]).await;
        fixture.store.close().await;
        let again = open(&fixture.url, Options::default()).await.unwrap();
        assert_eq!(again.heads_everywhere(system()).await.unwrap().len(), 1);
        again.close().await;
    }

    async fn a_reader_beside_a_gateway_reads_and_cannot_write(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.append(vec![record(nid(1), 1, 10)]).await;
        let reader = open(&fixture.url, READ).await.unwrap();
        let filter = EvidenceFilter { limit: 9, ..EvidenceFilter::default() };
        assert_eq!(reader.records(Scope::tenant(nid(1)), filter).await.unwrap().len(), 1);
        assert!(reader.heartbeat(holder(9), Timestamp(1)).await.is_err());
        fixture.append(vec![record(nid(1), 2, 10)]).await;
        assert_eq!(reader.leaf_hashes(system(), nid(1), 1, 9).await.unwrap().len(), 2);
    }

    async fn a_schema_from_a_newer_program_is_refused(kind) {
        let fixture = Fixture::new(kind).await;
        change(&fixture, NEWER).await;
        let fault = refused(&fixture.url).await;
        assert!(matches!(fault, OpenFault::Newer { found: 1_000, known: VERSION, .. }), "{fault:?}");
    }

    async fn a_schema_made_from_another_text_is_refused(kind) {
        let fixture = Fixture::new(kind).await;
        change(&fixture, "UPDATE schema_migrations SET checksum = 'x'").await;
        let fault = refused(&fixture.url).await;
        assert!(matches!(fault, OpenFault::Differs { version: 1, .. }), "{fault:?}");
    }

    async fn a_database_of_another_program_is_left_alone(kind) {
        let fixture = Fixture::new(kind).await;
        change(&fixture, "ALTER TABLE schema_migrations RENAME TO something_else").await;
        let fault = refused(&fixture.url).await;
        assert!(matches!(fault, OpenFault::Foreign { .. }), "{fault:?}");
    }

    async fn a_reader_does_not_make_a_store(kind) {
        let fixture = Fixture::new(kind).await;
        let script = "DELETE FROM schema_migrations";
        change(&fixture, script).await;
        let fault = open(&fixture.url, READ).await.unwrap_err();
        assert!(matches!(fault, OpenFault::Older { found: 0, known: VERSION, .. }), "{fault:?}");
    }
}

async fn change(fixture: &Fixture, script: &'static str) {
    let mut tx = fixture.store.0.write().await.unwrap();
    tx.batch(script).await.unwrap();
    tx.commit().await.unwrap();
    fixture.store.close().await;
}

#[tokio::test]
async fn a_second_gateway_is_kept_out_of_the_file_until_the_first_is_gone() {
    let fixture = Fixture::new(Store::Sqlite).await;
    let fault = refused(&fixture.url).await;
    assert!(matches!(fault, OpenFault::InUse { .. }) && fault.to_string().contains("bulkhead.db"), "{fault}");
    fixture.store.close().await;
    open(&fixture.url, Options::default()).await.unwrap();
}

#[tokio::test]
async fn the_file_and_its_directory_are_the_owners_alone() {
    let fixture = Fixture::new(Store::Sqlite).await;
    let file = Path::new(fixture.url.trim_start_matches("sqlite:"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&file.with_extension("db-wal")), 0o600);
}

#[tokio::test]
async fn what_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let fault = refused(&shown(directory.path())).await;
    assert!(matches!(&fault, OpenFault::NotAFile { path } if path == directory.path()), "{fault:?}");

    let garbage = directory.path().join("garbage.db");
    fs::write(&garbage, "evidence, but not as we keep it ".repeat(300)).unwrap();
    let fault = refused(&shown(&garbage)).await;
    assert!(matches!(fault, OpenFault::Unreadable { .. }), "{fault:?}");
    assert!(fault.to_string().contains("garbage.db"), "{fault}");
    assert!(fault.source().unwrap().to_string().contains("not a database"), "{fault:?}");

    let under_a_file = garbage.join("bulkhead.db");
    let fault = refused(&shown(&under_a_file)).await;
    assert!(matches!(fault, OpenFault::File { .. }), "{fault:?}");

    let missing = directory.path().join("missing.db");
    let fault = open(&shown(&missing), READ).await.unwrap_err();
    assert!(matches!(fault, OpenFault::Unreadable { .. }), "{fault:?}");
    assert!(!missing.exists());
}

#[tokio::test]
async fn an_unreachable_postgresql_is_named_without_its_password() {
    let fault = refused("postgres://bulkhead:hidden@127.0.0.1:1/evidence").await;
    assert_eq!(fault.to_string(), "cannot connect to PostgreSQL at 127.0.0.1:1/evidence");
    assert!(!format!("{fault:?}").contains("hidden"));
}

#[tokio::test]
async fn postgresql_shows_no_row_to_a_session_that_has_not_said_whose() {
    let fixture = Fixture::new(Store::Postgres).await;
    fixture.append(vec![record(nid(1), 1, 10), record(nid(2), 1, 10)]).await;
    let count = async |tenant: &str| {
        // `bulkhead` owns the tables and is no superuser.
        let script =
            format!("SET ROLE bulkhead; SET bulkhead.nid = '{tenant}'; SELECT count(*) FROM evidence");
        fixture.database.as_ref().unwrap().sql(&script)
    };
    assert_eq!(
        fixture.database.as_ref().unwrap().sql("SET ROLE bulkhead; SELECT count(*) FROM evidence"),
        "0"
    );
    assert_eq!(count("").await, "0");
    assert_eq!(count(&nid(2).to_string()).await, "1");
    assert_eq!(count("*").await, "2");
}

#[tokio::test]
async fn many_gateways_may_start_on_one_empty_postgresql_at_once() {
    let database = bh_testkit::Postgres::shared().fresh_database();
    let starts = (0..4).map(|_| {
        let url = database.url();
        tokio::spawn(async move { open(&url, Options::default()).await.map(|store| store.0.is_postgres()) })
    });
    for start in starts.collect::<Vec<_>>() {
        assert!(start.await.unwrap().unwrap());
    }
}
