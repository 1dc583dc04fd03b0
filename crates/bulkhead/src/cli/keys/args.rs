//! What the commands take, and the requests that it becomes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::given::{Attributes, NewKey};
use super::values::{NONE, limit_uses, object, put, secret, words};
use crate::cli::Failure;

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The key's id.
    pub(super) key_id: String,
}

#[derive(Debug, Args)]
pub(super) struct IssueArgs {
    /// The key's name.
    name: Option<String>,
    /// Whose key it is.
    #[arg(long)]
    actor: Option<String>,
    #[command(flatten)]
    new: NewKey,
}

impl IssueArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        self.new.write(&mut body)?;
        put(&mut body, "name", self.name);
        put(&mut body, "actor_id", self.actor);
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
    /// Permissions that it must have, e.g. `documents.read AND (users.read OR admin)`.
    #[arg(long = "permission", value_name = "QUERY")]
    permissions: Option<String>,
    /// A named limit that is taken from, by 1 or by a cost; may be given several times.
    #[arg(long = "limit", value_name = "NAME[=COST]")]
    limits: Vec<String>,
    /// How many credits are taken, in place of 1; with 0 they are only shown.
    #[arg(long, value_name = "COUNT")]
    cost: Option<u64>,
}

impl VerifyArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        put(&mut body, "credential", Some(secret(&self.credential)?));
        put(&mut body, "expected_audiences", Some(self.audiences));
        put(&mut body, "permissions", self.permissions);
        put(&mut body, "rate_limits", (!self.limits.is_empty()).then(|| limit_uses(&self.limits)));
        put(&mut body, "credits", self.cost.map(|cost| json!({ "cost": cost })));
        Ok(body.into())
    }
}

/// One change of a key's credits.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct CreditsChange {
    /// How many it has from now on; `none` for any number.
    #[arg(long, value_name = "COUNT")]
    set: Option<String>,
    /// How many more.
    #[arg(long, value_name = "COUNT")]
    increment: Option<u64>,
    /// How many fewer.
    #[arg(long, value_name = "COUNT")]
    decrement: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct CreditsArgs {
    /// The key's id.
    pub(super) key_id: String,
    #[command(flatten)]
    change: CreditsChange,
}

impl CreditsArgs {
    pub(super) fn body(&self) -> Result<Value, Failure> {
        let CreditsChange { set, increment, decrement } = &self.change;
        let number = |text: &str| match text {
            NONE => Ok(Value::Null),
            text => text.parse::<u64>().map(Value::from),
        };
        let wrong = |_| Failure::new("--set: expected a number of uses, or none");
        let set = set.as_deref().map(number).transpose().map_err(wrong)?;
        let changes = [
            ("set", set),
            ("increment", increment.map(Value::from)),
            ("decrement", decrement.map(Value::from)),
        ];
        let one = changes.into_iter().find_map(|(operation, value)| Some((operation, value?)));
        Ok(one
            .map(|(operation, value)| json!({ "operation": operation, "value": value }))
            .unwrap_or_default())
    }
}

/// What is known of a key that was made elsewhere.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Known {
    /// The key; `-` reads it from standard input.
    #[arg(long, value_name = "KEY")]
    raw_key: Option<String>,
    /// The key's plain SHA-256, where nobody has the key: 64 hexadecimal digits or base64; `-` reads it from standard
    /// input.
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The key's name.
    name: String,
    #[command(flatten)]
    known: Known,
    /// Whose key it is.
    #[arg(long)]
    actor: String,
    #[command(flatten)]
    new: NewKey,
}

impl ImportArgs {
    pub(super) fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        self.new.write(&mut body)?;
        put(&mut body, "raw_key", self.known.raw_key.as_deref().map(secret).transpose()?);
        let digest = self.known.sha256.as_deref().map(secret).transpose()?;
        let hashed = digest.map(|digest| json!({ "algorithm": "SHA256", "digest": digest }));
        put(&mut body, "hashed", hashed);
        put(&mut body, "name", Some(self.name));
        put(&mut body, "actor_id", Some(self.actor));
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
