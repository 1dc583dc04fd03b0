//! `bulkhead keys …`: the API-key server from the command line, over its own doors (Talos dossier §10).
//!
//! A secret is printed on standard output, once, and nowhere else.

mod args;
mod audit;
mod bulk;
mod given;
mod run;
pub(in crate::cli) mod show;
mod talos;
mod values;

use clap::{Args, Subcommand, ValueEnum};

use super::Failure;
use super::client::{Api, Where};
use crate::load::ConfigSource;
use args::{
    CreditsArgs, DeriveArgs, IdArgs, ImportArgs, ImportFileArgs, IssueArgs, ListArgs, RevokeArgs, RotateArgs,
    UpdateArgs, VerifyArgs,
};
use audit::AuditArgs;
use talos::ImportTalosArgs;

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: KeysCommand,
}

/// Which server is asked, as whom, and how its answers are shown.
#[derive(Debug, Args)]
struct ServerArgs {
    #[command(flatten)]
    place: Where,
    /// Host name of the tenant whose keys are meant; not needed without tenancy by host name.
    #[arg(long, global = true, value_name = "HOST")]
    tenant: Option<String>,
    /// Print the server's answer as JSON; the same as `--format json`.
    #[arg(long, global = true)]
    json: bool,
    /// Form of what is printed.
    #[arg(long, global = true, value_enum)]
    format: Option<Format>,
}

impl ServerArgs {
    fn as_json(&self) -> bool {
        self.json || matches!(self.format, Some(Format::Json))
    }

    fn format(&self) -> Result<Format, Failure> {
        match (self.json, self.format) {
            (true, None | Some(Format::Json)) => Ok(Format::Json),
            (true, Some(_)) => Err(Failure::new("--json and another --format: give one of them")),
            (false, format) => Ok(format.unwrap_or(Format::Text)),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    /// One object on each line; of `keys audit` alone.
    Ndjson,
    /// A table for spreadsheets; of `keys audit` alone.
    Csv,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    #[command(flatten)]
    Call(KeyCommand),
    /// Who did what with keys, and which credentials were not good.
    Audit(AuditArgs),
    /// Take over the keys of a Talos database; shows what it would do unless `--apply` is given.
    ImportTalos(ImportTalosArgs),
    /// The commands above, for keys that were issued here.
    #[command(subcommand)]
    Issued(IssuedCommand),
    /// The commands above, for keys that were made elsewhere.
    #[command(subcommand)]
    Imported(ImportedCommand),
}

/// What a server is asked.
#[derive(Debug, Subcommand)]
enum KeyCommand {
    #[command(flatten)]
    Issue(IssueCommand),
    #[command(flatten)]
    Stored(StoredCommand),
    #[command(flatten)]
    Import(ImportCommand),
    /// Ask whether a key or token is good; ends with 1 when it is not.
    Verify(VerifyArgs),
    /// Derive a short-lived token from a key.
    Derive(DeriveArgs),
}

/// What makes keys here.
#[derive(Debug, Subcommand)]
enum IssueCommand {
    /// Issue a key. Its secret is shown once.
    Issue(IssueArgs),
    /// Replace a key by a new one.
    Rotate(RotateArgs),
}

/// What takes keys over.
#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Take over a key that was made elsewhere.
    Import(Box<ImportArgs>),
    /// Take over many: a file of import requests, as a JSON array or one object on each line.
    ImportFile(ImportFileArgs),
}

/// What is done with keys that are here, wherever they were made.
#[derive(Debug, Subcommand)]
enum StoredCommand {
    /// Show a key.
    Get(IdArgs),
    /// List keys, newest first.
    List(ListArgs),
    /// Change what a key may do.
    Update(UpdateArgs),
    /// Change how many uses a key has left.
    Credits(CreditsArgs),
    /// Revoke a key for good.
    Revoke(RevokeArgs),
    /// Remove a key and its row.
    Delete(IdArgs),
}

#[derive(Debug, Subcommand)]
enum IssuedCommand {
    #[command(flatten)]
    Issue(IssueCommand),
    #[command(flatten)]
    Stored(StoredCommand),
}

#[derive(Debug, Subcommand)]
enum ImportedCommand {
    #[command(flatten)]
    Import(ImportCommand),
    #[command(flatten)]
    Stored(StoredCommand),
}

impl From<IssuedCommand> for KeyCommand {
    fn from(command: IssuedCommand) -> Self {
        match command {
            IssuedCommand::Issue(command) => Self::Issue(command),
            IssuedCommand::Stored(command) => Self::Stored(command),
        }
    }
}

impl From<ImportedCommand> for KeyCommand {
    fn from(command: ImportedCommand) -> Self {
        match command {
            ImportedCommand::Import(command) => Self::Import(command),
            ImportedCommand::Stored(StoredCommand::List(args)) => {
                Self::Stored(StoredCommand::List(ListArgs { imported: true, ..args }))
            }
            ImportedCommand::Stored(command) => Self::Stored(command),
        }
    }
}

fn api(source: &ConfigSource, server: &ServerArgs) -> Result<Api, Failure> {
    Api::new(source, &server.place, server.tenant.as_deref())
}

/// Runs `bulkhead keys …`.
pub(super) async fn run(source: ConfigSource, args: KeysArgs) -> Result<(), Failure> {
    let as_json = args.server.as_json();
    let format = args.server.format()?;
    if let KeysCommand::Audit(wanted) = &args.command {
        return audit::show(&api(&source, &args.server)?, wanted, format).await;
    }
    if matches!(format, Format::Ndjson | Format::Csv) {
        return Err(Failure::new("--format ndjson and --format csv are of `keys audit` alone"));
    }
    let command = match args.command {
        KeysCommand::Audit(_) => return Ok(()),
        KeysCommand::Call(command) => command,
        KeysCommand::Issued(command) => command.into(),
        KeysCommand::Imported(command) => command.into(),
        KeysCommand::ImportTalos(import) => {
            return Box::pin(talos::run(&source, &import, as_json)).await;
        }
    };
    let api = api(&source, &args.server)?;
    run::run(&api, command, as_json).await
}
