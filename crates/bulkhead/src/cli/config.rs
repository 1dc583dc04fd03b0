//! `bulkhead validate` and `bulkhead config …`.

use bh_config::{Layer, Loaded};
use clap::{Args, Subcommand};
use comfy_table::Table;
use serde_json::json;

use super::{Failure, print};
use crate::load::{ConfigSource, LoadFault};

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// File to check, in place of `--config`.
    #[arg(short, long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    /// Fail on warnings and on settings that are not active yet.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the commented default configuration.
    Default,
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print the configuration in force, secrets masked.
    Show,
    /// Say where a setting's value comes from.
    Explain {
        /// The setting, e.g. `gateway.rate_limits.global_requests_per_min`.
        key: String,
        /// As it applies to this tenant.
        #[arg(long)]
        tenant: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Checks the configuration, and says what is accepted but not active yet.
pub(super) fn validate(source: &ConfigSource, args: &ValidateArgs) -> Result<(), Failure> {
    let own = args.file.clone().map(|file| ConfigSource::new(Some(file)));
    let loaded = match own.as_ref().unwrap_or(source).load() {
        Ok(loaded) => loaded,
        Err(LoadFault::Problems(problems)) if args.json => {
            print::json(&json!({"valid": false, "problems": problems}))?;
            return Err(Failure::new("the configuration is not valid"));
        }
        Err(fault) => return Err(fault.into()),
    };
    if args.json {
        print::json(
            &json!({"valid": true, "warnings": loaded.warnings, "accepted_not_active_yet": loaded.inactive}),
        )?;
    } else {
        report(&loaded)?;
    }
    if args.strict && !(loaded.warnings.is_empty() && loaded.inactive.is_empty()) {
        return Err(Failure::new(
            "the configuration is valid, but --strict also refuses what is listed above",
        ));
    }
    Ok(())
}

fn report(loaded: &Loaded) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        print::talk(&format!("warning: {warning}"));
    }
    for part in &loaded.inactive {
        let place =
            if part.line > 0 { format!("{}:{}", part.source, part.line) } else { part.source.clone() };
        print::line(&format!(
            "accepted, not active yet: {} ({place}; comes with {})",
            part.path, part.comes_with
        ))?;
    }
    print::line("the configuration is valid")
}

/// Runs `bulkhead config …`.
pub(super) fn run(source: &ConfigSource, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Default => print::raw(bh_config::default_yaml()),
        ConfigCommand::Schema => print::json(&bh_config::json_schema()),
        ConfigCommand::Show => print::raw(&source.load()?.show()),
        ConfigCommand::Explain { key, tenant, json } => {
            explain(&source.load()?, &key, tenant.as_deref(), json)
        }
    }
}

fn explain(loaded: &Loaded, key: &str, tenant: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let explanation = loaded.explain(key, tenant)?;
    if as_json {
        return print::json(&explanation);
    }
    print::line(&format!("{} = {}", explanation.path, explanation.value))?;
    print::line(&explanation.meaning)?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    for say in &explanation.layers {
        table.add_row([layer(say.layer).to_owned(), say.value.clone(), say.place.clone()]);
    }
    print::line(&table.to_string())?;
    match &explanation.comes_with {
        Some(part) => print::line(&format!("accepted, not active yet: comes with {part}")),
        None => Ok(()),
    }
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Default => "default",
        Layer::File => "file",
        Layer::Environment => "environment",
        Layer::Tenant => "tenant",
    }
}
