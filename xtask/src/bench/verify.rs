//! How long the audit takes: every record of a store, and an export of them offline.

use std::fmt::Write;
use std::path::Path;

use bh_testkit::Postgres;

use super::gateway::{self, Home};
use super::options::{Options, StoreKind};
use super::process::{Cost, cost_of};
use super::target::{TARGET_CORE, fresh_folder, private_postgres};

/// `audit export` writes at most so many.
const EXPORT_RECORDS_MAX: u64 = 1_000_000;
const HEAD: &str = "\
| step, on one core | records | seconds | records/s | peak RSS MiB |
|---|---|---|---|---|
";

/// Fills a store with `records` and times their verification; the table.
///
/// # Errors
/// When a step fails, or verified another number of records than were written.
pub(super) fn table(binary: &Path, records: u64, options: &Options) -> Result<String, String> {
    let work = fresh_folder()?;
    let postgres = match options.store {
        StoreKind::Postgres => Some(private_postgres()?),
        StoreKind::Sqlite => None,
    };
    let database = postgres.as_ref().map(Postgres::fresh_database);
    let url = database.as_ref().map(bh_testkit::Database::url);
    // No request is made, so nobody listens where the provider would be.
    let home = Home::new(work.join("verify"), "127.0.0.1:9", "strict", url.as_deref(), options)?;
    let file = home.database().to_string_lossy().into_owned();
    gateway::fill(url.as_deref().unwrap_or(&file), records, options.tenants)?;
    // Once up and down: a first start makes the installation's secrets, which the commands below only read.
    drop(home.serve(binary, TARGET_CORE)?);

    let exported = records.min(EXPORT_RECORDS_MAX);
    let (limit, export) = (exported.to_string(), work.join("export.json").to_string_lossy().into_owned());
    let steps: [(&str, u64, &[&str]); 3] = [
        ("`audit verify --all`: the store", records, &["audit", "verify", "--all", "--json"]),
        (
            "`audit export --format signed-json`",
            exported,
            &["audit", "export", "--format", "signed-json", "--limit", &limit, "--output", &export],
        ),
        (
            "`audit verify --file`: the export, offline",
            exported,
            &["audit", "verify", "--file", &export, "--json"],
        ),
    ];
    let mut text = HEAD.to_owned();
    for (name, count, args) in steps {
        eprintln!("bench: {name}");
        let cost = cost_of(TARGET_CORE, &mut home.command(binary, args))?;
        if let Some(verified) = verified(&cost.stdout).filter(|verified| *verified != count) {
            return Err(format!("{name}: {verified} of {count} records"));
        }
        text.push_str(&row(name, count, &cost));
    }
    Ok(text)
}

/// The records that a verification says it went through; `None` where nothing is said, as by an export to a file.
fn verified(stdout: &str) -> Option<u64> {
    let told: serde_json::Value = serde_json::from_str(stdout).ok()?;
    match told.as_array() {
        Some(tenants) => Some(tenants.iter().filter_map(|tenant| tenant["records"].as_u64()).sum()),
        None => told["records"].as_u64(),
    }
}

fn row(name: &str, records: u64, cost: &Cost) -> String {
    let Cost { wall_s, peak_rss_kib, .. } = cost;
    let (rate, mib) = (records as f64 / wall_s, *peak_rss_kib as f64 / 1024.0);
    let mut row = String::new();
    writeln!(row, "| {name} | {records} | {wall_s:.2} | {rate:.0} | {mib:.1} |").ok();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_of_every_tenant_are_counted() {
        assert_eq!(verified(r#"[{"records": 3, "valid": true}, {"records": 4}]"#), Some(7));
        assert_eq!(verified(r#"{"valid": true, "records": 5}"#), Some(5));
        assert_eq!(verified(""), None);
    }
}
