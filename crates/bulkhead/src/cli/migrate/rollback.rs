//! `bulkhead migrate rollback`: the way back.

use std::path::Path;

use bh_domain::tenant::DEFAULT_TENANT;
use serde_json::json;

use super::journal::{Journal, TenantState, replace};
use super::tenancy::{Move, TENANTS, TenancyArgs};
use super::window::digest;
use crate::cli::client::escaped;
use crate::cli::{Failure, print};
use crate::load::ConfigSource;

/// Runs `bulkhead migrate rollback`: the file as it was, and the tenants that were made suspended. Run again it changes
/// nothing.
pub(super) async fn rollback(source: &ConfigSource, args: TenancyArgs, as_json: bool) -> Result<(), Failure> {
    let mut moving = Move::open(source, args)?;
    let Some(mut journal) = moving.journal.take() else {
        return Err(Failure::new("no migration has begun here: there is nothing to take back"));
    };
    let mut done = Vec::new();
    if restore(&moving, &journal)? {
        done.push(format!("{} is what it was", moving.file.display()));
    }
    for step in journal.tenants.clone() {
        let ours = step.state != TenantState::Found && step.id != DEFAULT_TENANT;
        let Some(tenant) = moving.found(&step.id).await?.filter(|_| ours) else { continue };
        if tenant["status"] == "active" {
            moving.api.post(&format!("{TENANTS}/{}/suspend", escaped(&step.id)), &json!({})).await?;
            done.push(format!("tenant {} is suspended: a name is never used twice, so it is kept", step.id));
        }
    }
    if !journal.rolled_back {
        journal.rolled_back = true;
        journal.write()?;
    }
    if as_json {
        return print::json(&json!({ "done": done }));
    }
    done.iter().try_for_each(|line| print::line(line))?;
    print::talk(if done.is_empty() {
        "nothing to change"
    } else {
        "`default` keeps its key, its settings and its data"
    });
    Ok(())
}

/// Brings the file back, unless somebody has changed it since; whether it was another one.
fn restore(moving: &Move, journal: &Journal) -> Result<bool, Failure> {
    let (Some(before), Some(after)) = (&journal.config_before, &journal.config_after) else {
        return Ok(false);
    };
    let now = digest(&moving.text);
    if now == *before {
        return Ok(false);
    }
    if now != *after {
        return Err(Failure::new(format!(
            "{} was changed since the migration: compare it with {} and bring back by hand what is to be",
            moving.file.display(),
            moving.backup().display()
        )));
    }
    let old = std::fs::read_to_string(moving.backup())?;
    if digest(&old) != *before {
        return Err(Failure::new(format!("{} is not what the file was", shown(&moving.backup()))));
    }
    replace(&moving.file, old.as_bytes())?;
    Ok(true)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
