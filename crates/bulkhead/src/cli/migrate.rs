//! `bulkhead migrate …`: the store's schema. Serving migrates by itself; this is for those who do it beforehand.

use bh_store::{Access, OpenFault, Options};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, print};
use crate::assemble;
use crate::data_dir;
use crate::load::ConfigSource;

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

#[derive(Clone, Copy, Debug, Subcommand)]
enum MigrateCommand {
    /// Bring the schema to this program's version.
    Up,
    /// Say whether the schema is this program's; ends with 1 when it is not.
    Status,
}

/// Runs `bulkhead migrate …`.
pub(super) async fn run(source: ConfigSource, args: MigrateArgs) -> Result<(), Failure> {
    let url = match args.database {
        Some(url) => url,
        None => {
            let loaded = source.reload()?;
            let data_dir = match args.command {
                MigrateCommand::Up => data_dir::prepare(&loaded.config)?,
                MigrateCommand::Status => data_dir::path(&loaded.config)?,
            };
            assemble::store_url(&loaded, &data_dir).0
        }
    };
    let access = match args.command {
        MigrateCommand::Up => Access::Own,
        MigrateCommand::Status => Access::Read,
    };
    let known = bh_store::SCHEMA_VERSION;
    match bh_store::open(&url, Options { access, connections_max: 1 }).await {
        Ok(store) => {
            store.close().await;
            if args.json {
                return print::json(&json!({ "current": true, "version": known, "known": known }));
            }
            print::line(&format!("the schema is current: version {known}"))
        }
        Err(OpenFault::Older { place, found, known }) => {
            if args.json {
                print::json(&json!({ "current": false, "version": found, "known": known }))?;
            }
            Err(Failure::new(format!(
                "{place} has schema version {found}, and this program needs {known}: run `bulkhead migrate up`"
            )))
        }
        Err(fault) => Err(fault.into()),
    }
}
