//! `bulkhead migrate …`: the store's schema, which serving migrates by itself and this does beforehand; and the way from one
//! tenant to many.

mod journal;
mod rollback;
mod tenancy;
mod window;

use bh_store::{Access, OpenFault, Options};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, print};
use crate::assemble;
use crate::data_dir;
use crate::load::ConfigSource;
use tenancy::TenancyArgs;

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The database, in place of the configured one: a path, `sqlite://...` or `postgres://...`.
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: MigrateCommand,
}

#[derive(Debug, Subcommand)]
enum MigrateCommand {
    /// Bring the schema to this program's version.
    Up,
    /// Say whether the schema is this program's; ends with 1 when it is not.
    Status,
    /// Say what is to be done to come from a single tenant to `default`, and on to tenants with names. Changes nothing.
    Plan(Box<TenancyArgs>),
    /// Do it, or go on with it. Each tenant's key is told once.
    Run(Box<TenancyArgs>),
    /// Say whether it is done, whether the evidence from before is unchanged, and who still calls without a key.
    Verify(Box<TenancyArgs>),
    /// Take it back: the configuration file as it was, and the tenants that were made suspended.
    Rollback(Box<TenancyArgs>),
}

/// Runs `bulkhead migrate …`.
pub(super) async fn run(source: ConfigSource, args: MigrateArgs) -> Result<(), Failure> {
    let MigrateArgs { database, json: as_json, command } = args;
    match command {
        MigrateCommand::Up => schema(&source, database, Access::Own, as_json).await,
        MigrateCommand::Status => schema(&source, database, Access::Read, as_json).await,
        MigrateCommand::Plan(args) => Box::pin(tenancy::plan(&source, *args, as_json)).await,
        MigrateCommand::Run(args) => Box::pin(tenancy::run(&source, *args, as_json)).await,
        MigrateCommand::Verify(args) => Box::pin(tenancy::verify(&source, *args, as_json)).await,
        MigrateCommand::Rollback(args) => Box::pin(rollback::rollback(&source, *args, as_json)).await,
    }
}

/// Brings the schema to this program's version, or says whether it is.
async fn schema(
    source: &ConfigSource,
    database: Option<String>,
    access: Access,
    as_json: bool,
) -> Result<(), Failure> {
    let url = match database {
        Some(url) => url,
        None => {
            let loaded = source.reload()?;
            let data_dir = match access {
                Access::Own => data_dir::prepare(&loaded.config)?,
                Access::Read => data_dir::path(&loaded.config)?,
            };
            assemble::store_url(&loaded, &data_dir).0
        }
    };
    let known = bh_store::SCHEMA_VERSION;
    match bh_store::open(&url, Options { access, connections_max: 1 }).await {
        Ok(store) => {
            store.close().await;
            if as_json {
                return print::json(&json!({ "current": true, "version": known, "known": known }));
            }
            print::line(&format!("the schema is current: version {known}"))
        }
        Err(OpenFault::Older { place, found, known }) => {
            if as_json {
                print::json(&json!({ "current": false, "version": found, "known": known }))?;
            }
            Err(Failure::new(format!(
                "{place} has schema version {found}, and this program needs {known}: run `bulkhead migrate up`"
            )))
        }
        Err(fault) => Err(fault.into()),
    }
}
