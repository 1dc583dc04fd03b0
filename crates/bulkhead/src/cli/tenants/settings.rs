//! A tenant's settings as options, and the request that they become.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::Failure;

/// What a tenant is given.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// Whom to write to.
    #[arg(long)]
    email: Option<String>,
    /// Preset; an empty text takes it away.
    #[arg(long)]
    plan: Option<String>,
    /// A host name that leads to it; `none` takes all away. Can be repeated.
    #[arg(long = "hostname", value_name = "NAME")]
    hostnames: Vec<String>,
    /// A number it may not go beyond, e.g. `requestsPerMinute=2000`; without a number its plan's. Can be repeated.
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<String>,
    /// A function, on or off, e.g. `oauth=false`. Can be repeated.
    #[arg(long = "feature", value_name = "NAME=BOOL")]
    features: Vec<String>,
    /// An address or range it may call from; `any` takes the list away. Can be repeated.
    #[arg(long = "allow-ip", value_name = "CIDR")]
    allowed_ips: Vec<String>,
    /// What it may spend, e.g. `daily=12.50`; without an amount its plan's. Can be repeated.
    #[arg(long = "budget", value_name = "PERIOD=AMOUNT")]
    budgets: Vec<String>,
}

/// Stands for no list of addresses at all.
const ANY: &str = "any";
/// Stands for no host name.
const NONE: &str = "none";

impl SettingsArgs {
    /// The members of the request: only those that are given.
    pub(super) fn body(self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        for (name, text) in [("name", self.name), ("email", self.email), ("plan", self.plan)] {
            if let Some(text) = text {
                let value = if text.is_empty() { Value::Null } else { text.into() };
                body.insert(name.to_owned(), value);
            }
        }
        put(&mut body, "limits", self.limits.iter().map(|given| pair(given, number)))?;
        put(&mut body, "features", self.features.iter().map(|given| pair(given, flag)))?;
        put(&mut body, "budgets", self.budgets.iter().map(|given| pair(given, text)))?;
        if !self.hostnames.is_empty() {
            let names = self.hostnames.into_iter().filter(|name| name != NONE).map(Value::from);
            body.insert("hostnames".to_owned(), names.collect());
        }
        if !self.allowed_ips.is_empty() {
            let ranges = self.allowed_ips.into_iter().filter(|range| range != ANY).map(Value::from);
            let security = Map::from_iter([("allowedIPs".to_owned(), ranges.collect())]);
            body.insert("security".to_owned(), security.into());
        }
        Ok(body)
    }
}

fn put(
    body: &mut Map<String, Value>,
    name: &str,
    members: impl Iterator<Item = Result<(String, Value), Failure>>,
) -> Result<(), Failure> {
    let members = members.collect::<Result<Map<_, _>, _>>()?;
    if !members.is_empty() {
        body.insert(name.to_owned(), members.into());
    }
    Ok(())
}

/// `name=value`; without a value the member is taken away.
fn pair(given: &str, read: fn(&str) -> Option<Value>) -> Result<(String, Value), Failure> {
    let wrong = || Failure::new(format!("`{given}`: expected NAME=VALUE"));
    let (name, value) = given.split_once('=').ok_or_else(wrong)?;
    let value = if value.is_empty() { Value::Null } else { read(value).ok_or_else(wrong)? };
    Ok((name.to_owned(), value))
}

fn number(text: &str) -> Option<Value> {
    text.parse::<u64>().ok().map(Value::from)
}

fn flag(text: &str) -> Option<Value> {
    text.parse::<bool>().ok().map(Value::from)
}

// The signature is that of the others.
#[expect(clippy::unnecessary_wraps, reason = "one of three readers")]
fn text(text: &str) -> Option<Value> {
    Some(text.into())
}
