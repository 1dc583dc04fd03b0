//! `bulkhead audit export` (Talon dossier sections 5.5 and 5.8).

use std::path::PathBuf;

use bh_app::evidence::{EXPORT_RECORDS_MAX, ExportFormat, ExportQuery, Pieces, Reach};
use bh_domain::time::Timestamp;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use futures_util::TryStreamExt;

use super::html::Page;
use super::output::Output;
use super::reader::Reader;
use crate::cli::{Failure, print};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Form. The signed ones verify offline; the others are for reading.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,
    /// One tenant; every tenant without it.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// One caller.
    #[arg(long, value_name = "CALLER")]
    agent: Option<String>,
    /// One session.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// From this time on: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Before this time: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// Only what was denied.
    #[arg(long)]
    violations_only: bool,
    /// The newest so many records.
    #[arg(long, default_value = "10000", value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(EXPORT_RECORDS_MAX)))]
    limit: u32,
    /// File to write, readable by its owner alone; standard output without it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Csv,
    Json,
    Ndjson,
    SignedJson,
    SignedNdjson,
    Html,
}

impl Form {
    /// The form that is read from the store. A page is made of lines.
    fn source(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson | Self::Html => "ndjson",
            Self::SignedJson => "signed-json",
            Self::SignedNdjson => "signed-ndjson",
        }
    }

    fn signed(self) -> bool {
        matches!(self, Self::SignedJson | Self::SignedNdjson)
    }
}

/// Writes an export to a file or to standard output.
pub(super) async fn export(reader: &Reader, args: ExportArgs) -> Result<(), Failure> {
    let reach = reader.reach(args.tenant.as_deref()).await?;
    let Some(format) = ExportFormat::parse(args.format.source()) else {
        return Err(Failure::new(format!("the form `{}` cannot be written", args.format.source())));
    };
    let query = ExportQuery {
        caller: args.agent,
        from: args.from,
        to: args.to,
        session_id: args.session,
        violations_only: args.violations_only,
        limit: args.limit,
        format,
    };
    let pieces = reader.reads.export(&reach, &query, reader.now()).await?;
    let to = Output::open(args.output.as_deref())?;
    match args.format {
        Form::Html => page(reader, &reach, &query, pieces, to).await?,
        Form::Csv | Form::Json | Form::Ndjson | Form::SignedJson | Form::SignedNdjson => {
            copy(pieces, to).await?
        }
    }
    if let Some(path) = &args.output {
        print::talk(&format!("written to {}", path.display()));
    }
    if args.format.signed() {
        let file = args.output.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
        let key = reader.reads.public_key();
        print::talk(&format!("verify with: bulkhead audit verify --file {file} --public-key {key}"));
    }
    Ok(())
}

/// Writes pieces as they come.
pub(in crate::cli) async fn copy(mut pieces: Pieces, mut to: Output) -> Result<(), Failure> {
    while let Some(piece) = pieces.try_next().await? {
        if !to.write(&piece)? {
            return Ok(());
        }
    }
    to.finish()
}

async fn page(
    reader: &Reader,
    reach: &Reach,
    query: &ExportQuery,
    mut pieces: Pieces,
    mut to: Output,
) -> Result<(), Failure> {
    let mut page = Page::new(reach.tenant_id(), reader.now(), reader.reads.public_key(), query.limit);
    to.write(page.head().as_bytes())?;
    while let Some(piece) = pieces.try_next().await? {
        // The table writes whole lines into each piece.
        let mut rows = String::new();
        for line in piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            page.row(&serde_json::from_slice(line)?, &mut rows);
        }
        if !to.write(rows.as_bytes())? {
            return Ok(());
        }
    }
    to.write(page.tail().as_bytes())?;
    to.finish()
}
