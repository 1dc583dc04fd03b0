//! `bulkhead secrets …`: tenants' secrets by name, and the keys that seal them, over the gateway's own doors.
//!
//! A value goes in from a file or standard input, never as an argument, and never comes out.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::audit::table::{Table, shown};
use super::client::{Api, Where, escaped};
use super::{Failure, print};
use crate::load::ConfigSource;

const TENANTS: &str = "/api/v1/admin/tenants";
const SECRETS: &str = "/api/v1/admin/secrets";
/// The most that one page holds.
const PAGE_MAX: usize = 1_000;
/// The largest value, and a byte more to notice a larger one.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct SecretsArgs {
    #[command(flatten)]
    place: Where,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    /// List a tenant's secrets, without their values.
    List(TenantArg),
    /// Store a secret. The value is read from standard input, or from a file.
    Put(PutArgs),
    /// Remove a secret.
    Delete(NameArgs),
    /// Give a tenant a new data key, and seal its secrets with it.
    RotateDataKey(TenantArg),
    /// Show which master keys there are, by their ids.
    MasterKey,
    /// Wrap every key by another master key: the configured one, or a generated one. The gateway goes on meanwhile.
    RotateMaster(RotateArgs),
    /// Open everything that is sealed, and name what does not open; ends with 1 when something does not.
    Verify,
}

#[derive(Debug, Args)]
struct TenantArg {
    /// The tenant's slug.
    #[arg(long, value_name = "TENANT")]
    tenant: String,
}

#[derive(Debug, Args)]
struct NameArgs {
    /// The tenant's slug.
    #[arg(long, value_name = "TENANT")]
    tenant: String,
    /// The secret's name.
    name: String,
}

#[derive(Debug, Args)]
struct PutArgs {
    #[command(flatten)]
    named: NameArgs,
    /// File with the value, in place of standard input. One line break at its end is left out.
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// Forget the older master keys, once nothing is wrapped by any of them.
    #[arg(long)]
    finish: bool,
}

/// Runs `bulkhead secrets …`.
pub(super) async fn run(source: ConfigSource, args: SecretsArgs) -> Result<(), Failure> {
    let as_json = args.json;
    let api = Api::new(&source, &args.place, None)?;
    match args.command {
        SecretsCommand::List(TenantArg { tenant }) => listed(&api, &tenant, as_json).await,
        SecretsCommand::Put(PutArgs { named, value_file }) => {
            let body = json!({ "value": value(value_file)? });
            let told = api.put(&path_of(&named), &body).await?;
            done(&told["data"], as_json, &format!("{} is stored", named.name))
        }
        SecretsCommand::Delete(named) => {
            let told = api.delete(&path_of(&named)).await?;
            done(&told["data"], as_json, &format!("{} is removed", named.name))
        }
        SecretsCommand::RotateDataKey(TenantArg { tenant }) => {
            let path = format!("{TENANTS}/{}/rotate-data-key", escaped(&tenant));
            let told = api.post(&path, &json!({})).await?;
            let told = &told["data"];
            let text = format!(
                "data key {} seals from now on; {} secrets are sealed anew",
                told["keyVersion"], told["resealed"]
            );
            done(told, as_json, &text)
        }
        SecretsCommand::MasterKey => {
            let told = api.get(&format!("{SECRETS}/master-key")).await?;
            status_told(&told["data"], as_json)
        }
        SecretsCommand::RotateMaster(RotateArgs { finish }) => rotated(&api, finish, as_json).await,
        SecretsCommand::Verify => verified(&api, as_json).await,
    }
}

fn path_of(named: &NameArgs) -> String {
    // A slash is part of a name.
    let name: Vec<String> = named.name.split('/').map(escaped).collect();
    format!("{TENANTS}/{}/secrets/{}", escaped(&named.tenant), name.join("/"))
}

/// The value, from a file or standard input.
fn value(file: Option<PathBuf>) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match &file {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(VALUE_BYTES_MAX + 2).read_to_string(&mut text)),
        None => std::io::stdin().lock().take(VALUE_BYTES_MAX + 2).read_to_string(&mut text),
    };
    let place = file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    read.map_err(|cause| Failure::new(format!("the value cannot be read from {place}: {cause}")))?;
    let value = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(value.to_owned())
}

async fn listed(api: &Api, tenant: &str, as_json: bool) -> Result<(), Failure> {
    let (mut found, mut cursor): (Vec<Value>, String) = (Vec::new(), String::new());
    loop {
        let of = escaped(tenant);
        let path = format!("{TENANTS}/{of}/secrets?limit={PAGE_MAX}&cursor={}", escaped(&cursor));
        let page = api.get(&path).await?;
        found.extend(page["data"].as_array().into_iter().flatten().cloned());
        page["metadata"]["nextCursor"].as_str().unwrap_or_default().clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    if as_json {
        return print::json(&found);
    }
    let mut table = Table::new(&["NAME", "KEY", "STORED", "TIMES"]);
    for secret in &found {
        let text = |name: &str| secret[name].as_str().unwrap_or_default().to_owned();
        let (key, times) = (secret["keyVersion"].to_string(), secret["revision"].to_string());
        table.row([text("name"), key, text("updatedAt"), times]);
    }
    table.print()
}

fn status_told(status: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(status);
    }
    for name in ["inForce", "current", "source", "retired"] {
        print::line(&format!("{name}: {}", words(&status[name])))?;
    }
    if status["inForce"] != status["current"] {
        print::talk("the current master key is not in force yet: run `bulkhead secrets rotate-master`");
    }
    Ok(())
}

async fn rotated(api: &Api, finish: bool, as_json: bool) -> Result<(), Failure> {
    let told = api.post(&format!("{SECRETS}/rotate-master"), &json!({ "finish": finish })).await?;
    let told = &told["data"];
    if as_json {
        return print::json(told);
    }
    let (master, verified) = (words(&told["masterKey"]), &told["verified"]);
    print::line(&format!(
        "master key {master} is in force; {} keys are wrapped anew, all {verified} open",
        told["rewrapped"]
    ))?;
    let retired = words(&told["retired"]);
    if !retired.is_empty() {
        print::talk(&format!(
            "still known: {retired}; forget with `bulkhead secrets rotate-master --finish`"
        ));
    }
    Ok(())
}

async fn verified(api: &Api, as_json: bool) -> Result<(), Failure> {
    let told = api.post(&format!("{SECRETS}/verify"), &json!({})).await?;
    let told = &told["data"];
    if as_json {
        print::json(told)?;
    } else {
        print::line(&format!("{} keys and {} secrets open", told["dataKeys"], told["secrets"]))?;
        let mut table = Table::new(&["TENANT", "SECRET", "KEY"]);
        let unreadable = told["unreadable"].as_array();
        for found in unreadable.into_iter().flatten() {
            let tenant = if found["tenantId"].is_null() { &found["nid"] } else { &found["tenantId"] };
            table.row([words(tenant), words(&found["secret"]), words(&found["keyVersion"])]);
        }
        if unreadable.is_some_and(|unreadable| !unreadable.is_empty()) {
            table.print()?;
        }
    }
    if told["intact"] == true {
        return Ok(());
    }
    Err(Failure::new(format!("{} do not open: restore them, or store them anew", told["unreadableCount"])))
}

/// A member in words.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => shown(text).to_string(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn done(told: &Value, as_json: bool, text: &str) -> Result<(), Failure> {
    if as_json { print::json(told) } else { print::line(text) }
}
