//! `bulkhead audit …`: reading, verifying and exporting evidence (issue section 6, Talon dossier section 5.11).
//!
//! Everything here only reads, beside a running gateway on the same store; `audit actions` asks the gateway. `audit verify
//! --file` needs neither store nor configuration.

mod actions;
mod beside;
mod chain;
mod export;
mod file;
pub(super) mod html;
mod list;
pub(super) mod output;
mod probe;
pub(super) mod reader;
pub(super) mod table;
mod verify;

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::load::ConfigSource;
use reader::Reader;

pub(super) use export::copy;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the newest records.
    List(list::ListArgs),
    /// Show one record.
    Show(list::ShowArgs),
    /// Check that records are what was written, and that none is missing.
    Verify(verify::VerifyArgs),
    /// Write records as a table, or as a signed document that proves itself offline.
    Export(export::ExportArgs),
    /// List who did what, and who was not let: the audit trail of a tenant, or of the installation.
    Actions(Box<actions::ActionsArgs>),
    /// Print a signed checkpoint over everything on record.
    Checkpoint(CheckpointArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// One tenant; every tenant without it.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `bulkhead audit …`.
pub(super) async fn run(source: ConfigSource, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List(args) => list::list(&Reader::open(&source).await?, args).await,
        AuditCommand::Show(args) => list::show(&Reader::open(&source).await?, args).await,
        AuditCommand::Verify(args) => Box::pin(verify::verify(&source, args)).await,
        AuditCommand::Export(args) => export::export(&Reader::open(&source).await?, args).await,
        AuditCommand::Actions(args) => actions::actions(&source, &args).await,
        AuditCommand::Checkpoint(args) => checkpoint(&Reader::open(&source).await?, args).await,
    }
}

async fn checkpoint(reader: &Reader, args: CheckpointArgs) -> Result<(), Failure> {
    let mut signed = Vec::new();
    for tenant in reader.tenants(args.tenant.as_deref()).await? {
        if let Some(tree) = reader.reads.checkpoint(&tenant.reach()).await? {
            signed.push((tenant, tree));
        }
    }
    if args.json {
        let entry = |(tenant, tree): &(reader::Tenant, bh_app::evidence::SignedTree)| {
            serde_json::json!({
                "tenant_id": tenant.id,
                "nid": tenant.nid.to_string(),
                "size": tree.size,
                "root": bh_domain::evidence::hex::encode(&tree.root),
                "checkpoint": tree.note,
                "public_key": reader.reads.public_key(),
            })
        };
        return print::json(&signed.iter().map(entry).collect::<Vec<_>>());
    }
    for (number, (tenant, tree)) in signed.iter().enumerate() {
        print::talk(&format!("{}: {} records", tenant.id, tree.size));
        // One tenant's note comes out byte for byte, ready for any verifier of signed notes.
        let gap = if number == 0 { "" } else { "\n" };
        print::raw(&format!("{gap}{}", tree.note))?;
    }
    print::talk(&format!("public key: {}", reader.reads.public_key()));
    Ok(())
}
