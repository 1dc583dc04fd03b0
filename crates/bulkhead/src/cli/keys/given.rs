//! What a key is given on the command line.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::values::{named_limits, object, put, rate_limit, refill, words};
use crate::cli::Failure;

/// What a key may be given, and may be changed to.
#[derive(Debug, Args)]
pub(super) struct Attributes {
    /// What it may do, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    scopes: Option<Vec<String>>,
    /// What is kept with it, as a JSON object.
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Address ranges that it may be used from, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    allowed_cidrs: Option<Vec<String>>,
    /// How often it may be used, e.g. `100/60s`; `none` for any number of times.
    #[arg(long, value_name = "COUNT/WINDOW")]
    rate_limit: Option<String>,
    /// A permission that it is granted, e.g. `documents.read` or `documents.*`; may be given several times.
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Option<Vec<String>>,
    /// A limit that verifications name, e.g. `exports=10/1h`, `usage=100000/24h:tokens` or, for each verification,
    /// `all=100/60s:requests:auto`; may be given several times; `none` for no such limits.
    #[arg(long = "limit", value_name = "NAME=QUOTA/WINDOW[:UNIT][:auto]")]
    limits: Option<Vec<String>>,
}

impl Attributes {
    /// The members of a request, and their names for an update mask.
    pub(super) fn write(&self, body: &mut Map<String, Value>) -> Result<Vec<&'static str>, Failure> {
        let mut given = Vec::new();
        let mut set = |name: &'static str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
                given.push(name);
            }
        };
        set("scopes", self.scopes.as_deref().map(words));
        set("metadata", self.metadata.as_deref().map(|text| object("--metadata", text)).transpose()?);
        let cidrs = self.allowed_cidrs.as_deref().map(words);
        set("ip_restriction", cidrs.map(|cidrs| json!({ "allowed_cidrs": cidrs })));
        set("rate_limit_policy", self.rate_limit.as_deref().map(rate_limit).transpose()?);
        set("permissions", self.permissions.as_deref().map(words));
        set("rate_limits", self.limits.as_deref().map(named_limits).transpose()?);
        Ok(given)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Visibility {
    Secret,
    Public,
}

impl Visibility {
    fn wire(self) -> &'static str {
        match self {
            Self::Secret => "KEY_VISIBILITY_SECRET",
            Self::Public => "KEY_VISIBILITY_PUBLIC",
        }
    }
}

/// What a new key is given, wherever it was made.
#[derive(Debug, Args)]
pub(super) struct NewKey {
    #[command(flatten)]
    attributes: Attributes,
    /// How long it lives, e.g. `720h`, `30d`, `1y`.
    #[arg(long)]
    ttl: Option<String>,
    /// Whether it is a secret or may be seen by anybody.
    #[arg(long, value_enum)]
    visibility: Option<Visibility>,
    /// How many uses it has; without it, any number, or those of a refill.
    #[arg(long, value_name = "COUNT")]
    credits: Option<u64>,
    /// When its credits are replaced, at midnight UTC: `daily:AMOUNT`, or on a day of the month, `monthly:AMOUNT@DAY`.
    #[arg(long, value_name = "INTERVAL:AMOUNT[@DAY]")]
    refill: Option<String>,
    /// Makes the request safe to repeat: the same id makes one key.
    #[arg(long)]
    request_id: Option<String>,
}

impl NewKey {
    pub(super) fn write(self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        self.attributes.write(body)?;
        let mut credits = Map::new();
        put(&mut credits, "remaining", self.credits);
        put(&mut credits, "refill", self.refill.as_deref().map(refill).transpose()?);
        put(body, "credits", (!credits.is_empty()).then_some(credits));
        put(body, "ttl", self.ttl);
        put(body, "visibility", self.visibility.map(Visibility::wire));
        put(body, "request_id", self.request_id);
        Ok(())
    }
}
