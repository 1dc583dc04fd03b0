//! Every statement is accepted by both databases, and none that is not meant to reads a whole table.

use bh_testkit::on_both_stores;

use super::fixture::Fixture;
use crate::db::{Bulk, Form, Value};
use crate::keyless::statements as keyless;
use crate::keys::statements::{beside, identities, imported, issued, profiles, trail};
use crate::outbox::statements as outbox;
use crate::statements;
use crate::tools::statements as tools;
use crate::usage::statements as usage;
use crate::vault::statements as vault;

/// Every statement and its name.
fn singles() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        statements::ALL,
        beside::ALL,
        trail::ALL,
        identities::ALL,
        profiles::ALL,
        issued::ALL,
        imported::ALL,
        usage::ALL,
        outbox::ALL,
        vault::ALL,
        keyless::ALL,
        tools::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Every bulk statement and its name.
fn bulks() -> impl Iterator<Item = (&'static str, &'static Bulk)> {
    [
        statements::ALL_BULK,
        trail::ALL_BULK,
        profiles::ALL_BULK,
        issued::ALL_BULK,
        imported::ALL_BULK,
        usage::ALL_BULK,
        outbox::ALL_BULK,
        keyless::ALL_BULK,
        tools::ALL_BULK,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Statements whose answer is a whole table.
const WHOLE_TABLES: [&str; 3] = ["MIGRATIONS_APPLIED", "TENANTS_EVERYWHERE", "HEADS_EVERYWHERE"];

/// Statements that sort not rows but the sums they have made of them.
const SORTED_SUMS: [&str; 1] = ["BY_MODEL"];

/// Parameters of as many rows as a statement takes, for those that are not inserted as they are: PostgreSQL cannot tell
/// their types.
fn sample(name: &str, rows: usize) -> Vec<Value> {
    let (text, int, bytes) = (Value::Text(None), Value::Int(None), Value::Bytes(None));
    let row = match name {
        "ADVANCE_HEADS" => vec![text, int.clone(), int, bytes.clone(), bytes],
        "TOUCH" => vec![text.clone(), text, int],
        "TAKE" => vec![text.clone(), text.clone(), text, int.clone(), int],
        "CHANGES" => vec![text.clone(), text, int],
        "LEASES_OF_WINDOWS" => vec![text; 4],
        "SETTLED_OF_OWNERS" | "SETTLED_OF_TENANTS" => vec![text; 5],
        _ => Vec::new(),
    };
    (0..rows).flat_map(|_| row.clone()).collect()
}

on_both_stores! {
    async fn every_statement_can_be_prepared(kind) {
        let fixture = Fixture::new(kind).await;
        for (name, text) in singles() {
            fixture.store.0.prepare(text, &[]).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        for (name, bulk) in bulks() {
            for (size, text) in bulk.texts(fixture.store.0.form()).iter().enumerate() {
                // On PostgreSQL the sizes are powers of two; SQLite asks for no types.
                let sample = sample(name, 1 << size);
                fixture.store.0.prepare(text, &sample).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }
}

#[tokio::test]
async fn no_statement_reads_a_whole_table_that_grows() {
    let fixture = Fixture::new(bh_testkit::Store::Sqlite).await;
    let bulks = bulks()
        .flat_map(|(name, bulk)| bulk.texts(Form::Padded).iter().map(move |text| (name, text.as_str())));
    for (name, text) in singles().chain(bulks).filter(|(name, _)| !WHOLE_TABLES.contains(name)) {
        for step in fixture.store.0.explain(text).await.unwrap() {
            let scanned = step.strip_prefix("SCAN ").unwrap_or_default();
            // `v` and constant rows are the statement's own parameters, `found` a few rows that it has found, and `u` what
            // was read of the ledger before it is added up.
            let growing =
                !scanned.is_empty() && !["v", "found", "u"].contains(&scanned) && !scanned.contains("ROW");
            assert!(!growing, "{name}: {step}\n{text}");
            let sorts = step.contains("TEMP B-TREE FOR ORDER BY") && !SORTED_SUMS.contains(&name);
            assert!(!sorts, "{name} sorts: {step}\n{text}");
        }
    }
}

/// Lists of keys, and the index that each is a range of.
const KEY_LISTS: [(&str, &str); 8] = [
    (issued::NEWEST, "api_keys_by_time"),
    (issued::NEWEST_ACTIVE, "api_keys_by_status"),
    (issued::NEWEST_REVOKED, "api_keys_by_status"),
    (issued::NEWEST_EXPIRED, "api_keys_by_status"),
    (issued::NEWEST_OF_ACTOR, "api_keys_by_actor"),
    (imported::NEWEST_ACTIVE_OF_ACTOR, "imported_api_keys_by_actor"),
    (imported::NEWEST_REVOKED_OF_ACTOR, "imported_api_keys_by_actor"),
    (imported::NEWEST_EXPIRED_OF_ACTOR, "imported_api_keys_by_actor"),
];

#[tokio::test]
async fn a_list_of_keys_is_one_range_of_one_index() {
    let fixture = Fixture::new(bh_testkit::Store::Sqlite).await;
    for (text, index) in KEY_LISTS {
        let steps = fixture.store.0.explain(text).await.unwrap();
        let [step] = &steps[..] else { panic!("{steps:?}\n{text}") };
        let range = step.contains(&format!("USING INDEX {index} (")) && step.contains("(created_ms,key_id)<");
        assert!(range, "{step}\n{text}");
    }
}

/// Statements about events, and the index that each is a range of.
const EVENTS: [(&str, &str); 3] = [
    (
        trail::EVENTS_NEWEST_OF_OBJECT,
        "audit_events_by_object (nid=? AND (object,id)>(?,?) AND (object,id)<(?,?))",
    ),
    (
        trail::EVENTS_OLDEST_OF_OBJECT,
        "audit_events_by_object (nid=? AND (object,id)>(?,?) AND (object,id)<(?,?))",
    ),
    (trail::FORGET_FAILURES, "audit_events_fading (id<?)"),
];

#[tokio::test]
async fn the_events_of_an_object_and_old_failures_are_one_range_of_an_index() {
    let fixture = Fixture::new(bh_testkit::Store::Sqlite).await;
    for (text, range) in EVENTS {
        let steps = fixture.store.0.explain(text).await.unwrap();
        assert!(steps.iter().any(|step| step.ends_with(range)), "{steps:?}\n{text}");
    }
}

/// Events of many objects, one in three a failure.
const MANY_EVENTS: &str = "INSERT INTO audit_events (nid, id, at_ms, action, object, actor, role, detail) \
    SELECT 'tenant-' || n % 5, lpad(n::text, 9, '0'), n, CASE n % 3 WHEN 0 THEN 'key.verification_failed' ELSE 'key.issued' END, \
    'key-' || n % 977, 'ops', 'admin', '{}' FROM generate_series(1, 30000) AS n; ANALYZE audit_events";

#[tokio::test]
async fn postgresql_reads_the_events_of_an_object_and_old_failures_by_index() {
    let fixture = Fixture::new(bh_testkit::Store::Postgres).await;
    let database = fixture.database.as_ref().unwrap();
    assert_eq!(database.sql(MANY_EVENTS), "");
    let of_object = "'tenant-3', '0', 'g', 0, 99999, '', '', '', 'key-7', 50, ''";
    for (text, index, args) in [
        (trail::EVENTS_NEWEST_OF_OBJECT, "audit_events_by_object", of_object),
        (trail::EVENTS_OLDEST_OF_OBJECT, "audit_events_by_object", of_object),
        (trail::FORGET_FAILURES, "audit_events_fading", "'000001000', 100"),
    ] {
        let plan = generic_plan(database, text, args);
        // It may sort what it has found: one object's events.
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}\n{text}");
    }
}

/// The plan of a statement that is prepared once for all arguments.
pub(super) fn generic_plan(database: &bh_testkit::Database, text: &str, args: &str) -> String {
    let script = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE asked AS {text}; EXPLAIN (COSTS OFF) EXECUTE asked({args})"
    );
    database.sql(&script)
}

/// Keys of many tenants, as PostgreSQL's planner would meet them.
const MANY_KEYS: &str = "INSERT INTO api_keys (nid, key_id, name, actor_id, scopes, metadata, status, enabled, \
    visibility, created_ms, updated_ms, expires_ms, allowed_cidrs, extras, revision, version) \
    SELECT 'tenant-' || n % 50, 'key-' || n, 'k', 'actor-' || n % 977, '[]', '{}', 1 + n / 7 % 2, 1, 1, n, n, \
    n + 1000, '[]', '{}', 1, 1 FROM generate_series(1, 30000) AS n; ANALYZE api_keys";

#[tokio::test]
async fn postgresql_reads_keys_by_index_and_sorts_none_of_them() {
    let fixture = Fixture::new(bh_testkit::Store::Postgres).await;
    let database = fixture.database.as_ref().unwrap();
    assert_eq!(database.sql(MANY_KEYS), "");
    let plan = |text: &str, args: &str| generic_plan(database, text, args);
    let place = "'tenant-7', 500, 'key-9', 50";
    let lists = [
        (issued::NEWEST, place.to_owned()),
        (issued::NEWEST_ACTIVE, format!("{place}, 100")),
        (issued::NEWEST_REVOKED, place.to_owned()),
        (issued::NEWEST_EXPIRED, format!("{place}, 100")),
        (issued::NEWEST_OF_ACTOR, format!("{place}, 'actor-7'")),
        (issued::NEWEST_ACTIVE_OF_ACTOR, format!("{place}, 'actor-7', 100")),
    ];
    for (text, args) in lists {
        let plan = plan(text, &args);
        assert!(plan.contains("Index Scan") && !plan.contains("Seq Scan"), "{plan}\n{text}");
        assert!(!plan.contains("Sort"), "{plan}\n{text}");
    }
    let identities = "INSERT INTO identities SELECT 'tenant-' || n % 50, 'id-' || n, 'actor-' || n % 977, '{}', '[]', n, n, 1 \
        FROM generate_series(1, 30000) AS n ON CONFLICT DO NOTHING; ANALYZE identities";
    assert_eq!(database.sql(identities), "");
    for text in issued::KEYS_WITH_IDENTITIES.texts(Form::Exact).iter().take(3) {
        let rows = (text.matches('$').count() / 2).max(1);
        let plan = plan(text, &vec!["'tenant-7', 'key-7'"; rows].join(", "));
        assert!(plan.contains("identities_by_external_id") && !plan.contains("Seq Scan"), "{plan}\n{text}");
    }
    for (bulk, args) in [(&issued::KEYS, "'tenant-7', 'key-7'"), (&issued::BY_REQUEST, "'tenant-7', 'r-7'")] {
        for (text, rows) in bulk.texts(Form::Exact).iter().zip([1, 2, 4, 8, 16, 32, 64]) {
            let plan = plan(text, &vec![args; rows].join(", "));
            assert!(plan.contains("Index") && !plan.contains("Seq Scan on api_keys"), "{plan}\n{text}");
        }
    }
}
