//! What the commands take, and the requests that it becomes.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::cli::Failure;

/// The largest credential on standard input, line end and some room included.
const STDIN_BYTES_MAX: u64 = 16 * 1_024;
/// The text that stands for standard input.
const STDIN: &str = "-";
/// The text that takes a limit away.
const NONE: &str = "none";

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The key's id.
    pub(super) key_id: String,
}

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
}

impl Attributes {
    /// The members of a request, and their names for an update mask.
    fn write(&self, body: &mut Map<String, Value>) -> Result<Vec<&'static str>, Failure> {
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
        Ok(given)
    }
}

/// `--scopes ""` is an empty list rather than a list of one empty word.
fn words(words: &[String]) -> Value {
    words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect()
}

fn object(option: &str, text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::new(format!("{option}: expected a JSON object"))),
        Err(error) => Err(Failure::new(format!("{option}: not JSON: {error}"))),
    }
}

fn rate_limit(text: &str) -> Result<Value, Failure> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let wrong = || Failure::new("--rate-limit: expected a number and a time such as 100/60s, or none");
    let (quota, window) = text.split_once('/').ok_or_else(wrong)?;
    quota.parse::<u64>().map_err(|_| wrong())?;
    Ok(json!({ "quota": quota, "window": window, "unit": "requests" }))
}

fn put<T: Into<Value>>(body: &mut Map<String, Value>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// A secret from the command line, or the first line of standard input.
fn secret(text: &str) -> Result<String, Failure> {
    if text != STDIN {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    std::io::stdin().take(STDIN_BYTES_MAX).read_to_string(&mut read)?;
    Ok(read.lines().next().unwrap_or_default().to_owned())
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

#[derive(Debug, Args)]
pub(super) struct IssueArgs {
    /// The key's name.
    name: Option<String>,
    /// Whose key it is.
    #[arg(long)]
    actor: Option<String>,
    #[command(flatten)]
    attributes: Attributes,
    /// How long it lives, e.g. `720h`, `30d`, `1y`.
    #[arg(long)]
    ttl: Option<String>,
    /// Whether it is a secret or may be seen by anybody.
    #[arg(long, value_enum)]
    visibility: Option<Visibility>,
    /// Makes the request safe to repeat: the same id makes one key.
    #[arg(long)]
    request_id: Option<String>,
}

impl IssueArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        self.attributes.write(&mut body)?;
        put(&mut body, "name", self.name);
        put(&mut body, "actor_id", self.actor);
        put(&mut body, "ttl", self.ttl);
        put(&mut body, "visibility", self.visibility.map(Visibility::wire));
        put(&mut body, "request_id", self.request_id);
        Ok(body.into())
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Keys that were made elsewhere, in place of those issued here.
    #[arg(long)]
    pub(super) imported: bool,
    /// Which ones, e.g. `actor_id="svc" AND status=KEY_STATUS_ACTIVE`.
    #[arg(long)]
    pub(super) filter: Option<String>,
    /// The most keys that are listed.
    #[arg(long, default_value_t = 50)]
    pub(super) limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The key's id.
    pub(super) key_id: String,
    /// Its new name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    attributes: Attributes,
}

impl UpdateArgs {
    /// The update mask and the body. Only what is given is changed; an empty value takes away what there is.
    pub(super) fn change(&self) -> Result<(String, Value), Failure> {
        let mut body = Map::new();
        let mut mask = self.attributes.write(&mut body)?;
        if let Some(name) = &self.name {
            body.insert("name".to_owned(), name.as_str().into());
            mask.push("name");
        }
        if mask.is_empty() {
            return Err(Failure::new("nothing to change: give at least one of the options (see --help)"));
        }
        Ok((mask.join(","), body.into()))
    }
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The key's id.
    pub(super) key_id: String,
    /// The new key's name, in place of the old one's.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    attributes: Attributes,
    /// How long the old key goes on working; without it, not at all.
    #[arg(long, value_name = "TIME")]
    grace: Option<String>,
}

impl RotateArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        self.attributes.write(&mut body)?;
        put(&mut body, "name", self.name);
        put(&mut body, "grace_ttl", self.grace);
        Ok(body.into())
    }
}

/// Why a key is revoked.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Reason {
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    PrivilegeWithdrawn,
}

impl Reason {
    fn wire(self) -> &'static str {
        match self {
            Self::KeyCompromise => "REVOCATION_REASON_KEY_COMPROMISE",
            Self::AffiliationChanged => "REVOCATION_REASON_AFFILIATION_CHANGED",
            Self::Superseded => "REVOCATION_REASON_SUPERSEDED",
            Self::PrivilegeWithdrawn => "REVOCATION_REASON_PRIVILEGE_WITHDRAWN",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The key's id.
    pub(super) key_id: String,
    /// Why.
    #[arg(long, value_enum, default_value = "superseded")]
    reason: Reason,
    /// Why, in words; only with `privilege_withdrawn`.
    #[arg(long)]
    description: Option<String>,
    /// Refuse the tokens that were derived from it, too.
    #[arg(long)]
    derived: bool,
}

impl RevokeArgs {
    pub(super) fn body(&self) -> Value {
        let mut body = Map::new();
        put(&mut body, "reason", Some(self.reason.wire()));
        put(&mut body, "description", self.description.clone());
        put(&mut body, "revoke_derived", self.derived.then_some(true));
        body.into()
    }
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The key or token; `-` reads it from standard input, where no list of processes shows it.
    credential: String,
    /// Audience that it must name; may be given several times.
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
}

impl VerifyArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        Ok(json!({ "credential": secret(&self.credential)?, "expected_audiences": self.audiences }))
    }
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The key's name.
    name: String,
    /// The key; `-` reads it from standard input.
    #[arg(long, value_name = "KEY")]
    raw_key: String,
    /// Whose key it is.
    #[arg(long)]
    actor: String,
    #[command(flatten)]
    attributes: Attributes,
    /// How long it lives, e.g. `720h`, `30d`, `1y`.
    #[arg(long)]
    ttl: Option<String>,
    /// Whether it is a secret or may be seen by anybody.
    #[arg(long, value_enum)]
    visibility: Option<Visibility>,
    /// Makes the request safe to repeat: the same id makes one key.
    #[arg(long)]
    request_id: Option<String>,
}

impl ImportArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        self.attributes.write(&mut body)?;
        put(&mut body, "raw_key", Some(secret(&self.raw_key)?));
        put(&mut body, "name", Some(self.name));
        put(&mut body, "actor_id", Some(self.actor));
        put(&mut body, "ttl", self.ttl);
        put(&mut body, "visibility", self.visibility.map(Visibility::wire));
        put(&mut body, "request_id", self.request_id);
        Ok(body.into())
    }
}

#[derive(Debug, Args)]
pub(super) struct ImportFileArgs {
    /// The file.
    pub(super) file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    Jwt,
    Macaroon,
}

#[derive(Debug, Args)]
pub(super) struct DeriveArgs {
    /// The key; `-` reads it from standard input.
    credential: String,
    /// Form of the token.
    #[arg(long, value_enum, default_value = "jwt")]
    algorithm: Algorithm,
    /// How long it lives.
    #[arg(long)]
    ttl: Option<String>,
    /// Fewer scopes than the key has, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    scopes: Option<Vec<String>>,
    /// Who the token is for; may be given several times.
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// More claims, as a JSON object.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
}

impl DeriveArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        put(&mut body, "credential", Some(secret(&self.credential)?));
        let algorithm = match self.algorithm {
            Algorithm::Jwt => "TOKEN_ALGORITHM_JWT",
            Algorithm::Macaroon => "TOKEN_ALGORITHM_MACAROON",
        };
        put(&mut body, "algorithm", Some(algorithm));
        put(&mut body, "ttl", self.ttl);
        put(&mut body, "scopes", self.scopes.as_deref().map(words));
        put(&mut body, "audiences", (!self.audiences.is_empty()).then_some(self.audiences));
        put(&mut body, "custom_claims", self.claims.as_deref().map(|c| object("--claims", c)).transpose()?);
        Ok(body.into())
    }
}
