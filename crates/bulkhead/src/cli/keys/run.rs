//! The commands, as calls.

use serde_json::{Value, json};
use uuid::Uuid;

use super::args::{ListArgs, UpdateArgs};
use super::{ImportCommand, IssueCommand, KeyCommand, StoredCommand, bulk, show};
use crate::cli::client::{Api, escaped};
use crate::cli::{Failure, print};

const ISSUED: &str = "/v2alpha1/admin/issuedApiKeys";
const IMPORTED: &str = "/v2alpha1/admin/importedApiKeys";
const KEYS: &str = "/v2alpha1/admin/apiKeys";
/// The most keys that one page holds.
const PAGE_KEYS_MAX: usize = 1_000;

/// Runs one command.
pub(super) async fn run(api: &Api, command: KeyCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        KeyCommand::Issue(IssueCommand::Issue(args)) => {
            made(&api.post(ISSUED, &args.body()?).await?, as_json)
        }
        KeyCommand::Issue(IssueCommand::Rotate(args)) => {
            let path = format!("{ISSUED}/{}:rotate", escaped(&args.key_id));
            made(&api.post(&path, &args.body()?).await?, as_json)
        }
        KeyCommand::Import(ImportCommand::Import(args)) => {
            told(&api.post(IMPORTED, &args.body()?).await?, as_json)
        }
        KeyCommand::Import(ImportCommand::ImportFile(args)) => bulk::import(api, &args.file, as_json).await,
        KeyCommand::Stored(command) => stored(api, command, as_json).await,
        KeyCommand::Verify(args) => {
            verdict(&api.post(&format!("{KEYS}:verify"), &args.body()?).await?, as_json)
        }
        KeyCommand::Derive(args) => {
            let answer = api.post(&format!("{KEYS}:derive"), &args.body()?).await?;
            if as_json { print::json(&answer) } else { show::members(&answer["token"]) }
        }
    }
}

async fn stored(api: &Api, command: StoredCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        StoredCommand::Get(args) => told(&api.get(&path_of(&args.key_id)).await?, as_json),
        StoredCommand::List(args) => list(api, &args, as_json).await,
        StoredCommand::Update(args) => update(api, &args, as_json).await,
        StoredCommand::Credits(args) => {
            let path = format!("{}:updateCredits", path_of(&args.key_id));
            told(&api.post(&path, &args.body()?).await?, as_json)
        }
        StoredCommand::Revoke(args) => {
            api.post(&format!("{}:revoke", path_of(&args.key_id)), &args.body()).await?;
            done("revoked", &args.key_id, as_json)
        }
        StoredCommand::Delete(args) => {
            api.delete(&path_of(&args.key_id)).await?;
            done("deleted", &args.key_id, as_json)
        }
    }
}

/// An issued key has a UUID, an imported one a hash.
fn path_of(key_id: &str) -> String {
    let collection = if Uuid::try_parse(key_id).is_ok() { ISSUED } else { IMPORTED };
    format!("{collection}/{}", escaped(key_id))
}

pub(super) fn told(key: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json { print::json(key) } else { show::members(key) }
}

/// A new key, and its secret last.
fn made(answer: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(answer);
    }
    show::members(&answer["issued_api_key"])?;
    match answer["secret"].as_str() {
        Some(secret) => {
            print::talk("keep the secret: it is not shown again");
            print::line(&format!("secret: {secret}"))
        }
        None => {
            print::talk("this request has made the key before: its secret is not shown again");
            Ok(())
        }
    }
}

fn done(what: &str, key_id: &str, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(&json!({ "key_id": key_id, "done": what }));
    }
    print::line(&format!("{what}: {key_id}"))
}

async fn update(api: &Api, args: &UpdateArgs, as_json: bool) -> Result<(), Failure> {
    let (mask, body) = args.change()?;
    let path = format!("{}?update_mask={}", path_of(&args.key_id), escaped(&mask));
    told(&api.patch(&path, &body).await?, as_json)
}

async fn list(api: &Api, args: &ListArgs, as_json: bool) -> Result<(), Failure> {
    let (path, member) =
        if args.imported { (IMPORTED, "imported_api_keys") } else { (ISSUED, "issued_api_keys") };
    let filter = args.filter.as_deref().map(|filter| format!("&filter={}", escaped(filter)));
    let (mut keys, mut token) = (Vec::new(), String::new());
    while keys.len() < args.limit {
        let size = (args.limit - keys.len()).min(PAGE_KEYS_MAX);
        let page = format!("{path}?page_size={size}&page_token={}", escaped(&token));
        let page = api.get(&format!("{page}{}", filter.as_deref().unwrap_or_default())).await?;
        keys.extend(page[member].as_array().into_iter().flatten().cloned());
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    if as_json {
        return print::json(&json!({ member: keys }));
    }
    show::table(&keys)?;
    if !token.is_empty() {
        print::talk("there are more: raise --limit");
    }
    Ok(())
}

fn verdict(answer: &Value, as_json: bool) -> Result<(), Failure> {
    told(answer, as_json)?;
    if answer["is_valid"].as_bool() == Some(true) {
        return Ok(());
    }
    let code = answer["error_code"].as_str().unwrap_or("VERIFICATION_ERROR_UNSPECIFIED");
    Err(Failure::new(format!("not valid: {code}")))
}
