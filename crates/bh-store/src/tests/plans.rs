//! Every statement is accepted by both databases, and none that is not meant to reads a whole table.

use bh_testkit::on_both_stores;

use super::fixture::Fixture;
use crate::db::{Form, Value};
use crate::statements::{ALL, ALL_BULK};

/// Statements whose answer is a whole table, and one that once an hour keeps its table from growing.
const WHOLE_TABLES: [&str; 4] =
    ["MIGRATIONS_APPLIED", "TENANTS_EVERYWHERE", "HEADS_EVERYWHERE", "FORGET_LEASES"];

/// PostgreSQL cannot tell the types of rows that are not inserted as they are.
fn heads(rows: usize) -> Vec<Value> {
    let row =
        || [Value::Text(None), Value::Int(None), Value::Int(None), Value::Bytes(None), Value::Bytes(None)];
    (0..rows).flat_map(|_| row()).collect()
}

on_both_stores! {
    async fn every_statement_can_be_prepared(kind) {
        let fixture = Fixture::new(kind).await;
        for (name, text) in ALL {
            fixture.store.0.prepare(text, &[]).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        for (name, bulk) in ALL_BULK {
            for (size, text) in bulk.texts(fixture.store.0.form()).iter().enumerate() {
                // On PostgreSQL the sizes are powers of two; SQLite asks for no types.
                let sample = if *name == "ADVANCE_HEADS" { heads(1 << size) } else { Vec::new() };
                fixture.store.0.prepare(text, &sample).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }
}

#[tokio::test]
async fn no_statement_reads_a_whole_table_that_grows() {
    let fixture = Fixture::new(bh_testkit::Store::Sqlite).await;
    let singles = ALL.iter().map(|(name, text)| (*name, *text));
    let bulks = ALL_BULK
        .iter()
        .flat_map(|(name, bulk)| bulk.texts(Form::Padded).iter().map(move |text| (*name, text.as_str())));
    for (name, text) in singles.chain(bulks).filter(|(name, _)| !WHOLE_TABLES.contains(name)) {
        for step in fixture.store.0.explain(text).await.unwrap() {
            let scanned = step.strip_prefix("SCAN ").unwrap_or_default();
            // `v` and constant rows are the statement's own parameters.
            let growing = !scanned.is_empty() && scanned != "v" && !scanned.contains("ROW");
            assert!(!growing, "{name}: {step}\n{text}");
            assert!(!step.contains("TEMP B-TREE FOR ORDER BY"), "{name} sorts: {step}\n{text}");
        }
    }
}
