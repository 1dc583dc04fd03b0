//! `bulkhead migrate plan | run | verify | rollback`: from a single tenant to `default`, and on to tenants with names (seed
//! 001, "Migration from Single-Tenant").
//!
//! The file is changed where the command runs; tenants are made through the gateway's own doors, so that every replica
//! knows them. Each step is noted before it is done and after: whenever it is interrupted, `run` goes on from there.

use std::path::PathBuf;

use bh_app::ports::EvidenceStore as _;
use bh_domain::evidence::hex;
use bh_domain::tenant::{DEFAULT_TENANT, Scope, TenantId};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::journal::{EvidenceMark, Journal, TenantState, replace};
use super::window::{Window, digest, wanted};
use crate::cli::audit::reader::Reader;
use crate::cli::client::{Api, Where, escaped};
use crate::cli::{Failure, print};
use crate::data_dir;
use crate::load::ConfigSource;

pub(super) const TENANTS: &str = "/api/v1/admin/tenants";
const DEFAULT_NAME: &str = "Default Tenant";
/// What ends the name of the configuration file as it was before.
const BACKUP: &str = ".before-migration";

#[derive(Debug, Args)]
pub(super) struct TenancyArgs {
    #[command(flatten)]
    place: Where,
    /// A further tenant that is to be made, with a key of its own for the clients that move there. Can be repeated.
    #[arg(long = "to", value_name = "TENANT")]
    to: Vec<String>,
    /// Preset of the tenant `default`.
    #[arg(long)]
    plan: Option<String>,
    /// Requests a minute of the tenant `default`, as in seed 001.
    #[arg(long, default_value_t = 10_000, value_name = "NUMBER")]
    requests_per_minute: u64,
}

/// A step, and what there is to do about it.
#[derive(Debug, Serialize)]
struct Step {
    step: String,
    /// `todo`, `done`, or `blocked`.
    state: &'static str,
    detail: String,
}

impl Step {
    fn new(step: &str, state: &'static str, detail: impl Into<String>) -> Self {
        Self { step: step.to_owned(), state, detail: detail.into() }
    }
}

/// Where a migration stands.
pub(super) struct Move {
    pub(super) api: Api,
    pub(super) file: PathBuf,
    pub(super) text: String,
    window: Window,
    data_dir: PathBuf,
    pub(super) journal: Option<Journal>,
    tenants: Vec<String>,
    args: TenancyArgs,
}

impl Move {
    pub(super) fn open(source: &ConfigSource, args: TenancyArgs) -> Result<Self, Failure> {
        let message = "a migration changes the configuration file: name it with --config";
        let file = source.file.clone().ok_or_else(|| Failure::new(message))?;
        let loaded = source.reload()?;
        let text = std::fs::read_to_string(&file)?;
        let window = wanted(&text, loaded.config.multi_tenant.as_ref());
        let data_dir = data_dir::path(&loaded.config)?;
        let api = Api::new(source, &args.place, None)?;
        let mut tenants = vec![DEFAULT_TENANT.to_owned()];
        for id in &args.to {
            let id = TenantId::parse(id)?.to_string();
            if !tenants.contains(&id) {
                tenants.push(id);
            }
        }
        let journal = Journal::read(&data_dir)?;
        Ok(Self { api, file, text, window, data_dir, journal, tenants, args })
    }

    /// The tenant as the gateway tells it; `None` where it is to be made. One that is there by itself is to be made, too; one
    /// that a file names is there.
    pub(super) async fn found(&self, id: &str) -> Result<Option<Value>, Failure> {
        let mut cursor = String::new();
        loop {
            let page = self.api.get(&format!("{TENANTS}?limit=1000&cursor={}", escaped(&cursor))).await?;
            let tenants = page["data"].as_array().cloned().unwrap_or_default();
            if let Some(tenant) = tenants.into_iter().find(|tenant| tenant["id"] == *id) {
                let is_made = !tenant["createdAt"].is_null() || tenant["managedBy"] == "file";
                return Ok(Some(tenant).filter(|_| is_made));
            }
            match page["metadata"]["nextCursor"].as_str() {
                Some(next) if next < id => next.clone_into(&mut cursor),
                Some(_) | None => return Ok(None),
            }
        }
    }

    fn body(&self, id: &str) -> Value {
        if id != DEFAULT_TENANT {
            return json!({ "id": id, "metadata": {"migratedFrom": DEFAULT_TENANT} });
        }
        let limits = json!({ "requestsPerMinute": self.args.requests_per_minute });
        let mut body = json!({ "id": id, "name": DEFAULT_NAME, "limits": limits });
        if let Some(plan) = &self.args.plan {
            body["plan"] = plan.as_str().into();
        }
        body
    }

    pub(super) fn backup(&self) -> PathBuf {
        let mut path = self.file.as_os_str().to_owned();
        path.push(BACKUP);
        PathBuf::from(path)
    }

    fn window_step(&self) -> Step {
        let step = "configuration";
        match &self.window {
            Window::Open => Step::new(step, "done", "the migration window is in the file"),
            Window::Append(lines) => {
                Step::new(step, "todo", format!("append to {}:{lines}", self.file.display()))
            }
            Window::Differs(why) => Step::new(step, "blocked", why.clone()),
        }
    }

    async fn steps(&self) -> Result<Vec<Step>, Failure> {
        let mut steps = vec![self.window_step()];
        for id in &self.tenants {
            let step = format!("tenant {id}");
            let told = self.journal.as_ref().and_then(|journal| journal.state(id));
            steps.push(match (self.found(id).await?, told) {
                (Some(tenant), Some(TenantState::Made)) if tenant["status"] == "suspended" => {
                    Step::new(&step, "todo", "resume it")
                }
                (Some(tenant), Some(TenantState::Found) | None) if tenant["status"] == "suspended" => {
                    Step::new(&step, "done", "it is there, and suspended by its operator")
                }
                (Some(_), Some(TenantState::Making)) => Step::new(
                    &step,
                    "todo",
                    "it was made, and its key was not told: replace its key and tell that one",
                ),
                (Some(_), _) => Step::new(&step, "done", "it is there"),
                (None, _) => {
                    Step::new(&step, "todo", format!("make it, and tell its key once: {}", self.body(id)))
                }
            });
        }
        let stays = "keys, usage and evidence so far stay what they are, under `default`: evidence is never written anew. \
            A tenant with a name begins with its first call; `metadata.migratedFrom` says where it came from";
        steps.push(Step::new("data", "done", stays));
        Ok(steps)
    }
}

/// Runs `bulkhead migrate plan`. Nothing is changed.
pub(super) async fn plan(source: &ConfigSource, args: TenancyArgs, as_json: bool) -> Result<(), Failure> {
    let steps = Move::open(source, args)?.steps().await?;
    told(&steps, as_json)?;
    if steps.iter().any(|step| step.state == "blocked") {
        return Err(Failure::new("the plan is blocked: see above"));
    }
    Ok(())
}

fn told(steps: &[Step], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(&json!({ "steps": steps }));
    }
    steps.iter().try_for_each(|step| print::line(&format!("{:8} {}: {}", step.state, step.step, step.detail)))
}

/// Runs `bulkhead migrate run`. Run again it changes nothing.
pub(super) async fn run(source: &ConfigSource, args: TenancyArgs, as_json: bool) -> Result<(), Failure> {
    let mut moving = Move::open(source, args)?;
    if let Window::Differs(why) = &moving.window {
        return Err(Failure::new(why.clone()));
    }
    let mut journal = match moving.journal.take() {
        Some(journal) => journal,
        None => Journal::begin(&moving.data_dir, Box::pin(mark(source)).await?),
    };
    journal.rolled_back = false;
    journal.write()?;
    if let Window::Append(lines) = &moving.window {
        let after = format!("{}{lines}", moving.text);
        // A file in another style, JSON's say, does not take them.
        source.load_with(Some(&after))?;
        // What it was comes first: whatever is interrupted, there is a way back.
        replace(&moving.backup(), moving.text.as_bytes())?;
        journal.config_before = Some(digest(&moving.text));
        journal.config_after = Some(digest(&after));
        journal.write()?;
        replace(&moving.file, after.as_bytes())?;
    }
    let mut keys = Vec::new();
    let mut settled = Ok(());
    for id in &moving.tenants {
        match settle(&moving, &mut journal, id).await {
            Ok(None) => {}
            Ok(Some(key)) => {
                if !as_json {
                    print::line(&format!("{id} {key}"))?;
                    // Told before it is noted as told: a key is rather replaced than lost.
                    journal.note(id, TenantState::Made)?;
                }
                keys.push(json!({ "tenant": id, "apiKey": key }));
            }
            // What was made before it is told all the same.
            Err(failure) => {
                settled = Err(failure);
                break;
            }
        }
    }
    if as_json {
        print::json(&json!({ "keys": keys }))?;
        for key in &keys {
            journal.note(key["tenant"].as_str().unwrap_or_default(), TenantState::Made)?;
        }
    }
    settled?;
    print::talk(match keys.len() {
        0 => "nothing to change",
        _ => "done: give each tenant's clients its key, and look at `bulkhead migrate verify`",
    });
    Ok(())
}

/// Brings a tenant to where it is to be; its key, where there is one to be told.
async fn settle(moving: &Move, journal: &mut Journal, id: &str) -> Result<Option<String>, Failure> {
    let path = format!("{TENANTS}/{}", escaped(id));
    let key = |answer: &Value| answer["data"]["apiKey"].as_str().map(str::to_owned);
    let Some(tenant) = moving.found(id).await? else {
        journal.note(id, TenantState::Making)?;
        return Ok(key(&moving.api.post(TENANTS, &moving.body(id)).await?));
    };
    // A rollback has suspended what this migration made. What an operator suspended stays so.
    let ours = matches!(journal.state(id), Some(TenantState::Made | TenantState::Making));
    if tenant["status"] == "suspended" && ours {
        moving.api.post(&format!("{path}/resume"), &json!({})).await?;
    }
    match journal.state(id) {
        Some(TenantState::Making) => {
            Ok(key(&moving.api.post(&format!("{path}/rotate-api-key"), &json!({})).await?))
        }
        Some(TenantState::Made | TenantState::Found) => Ok(None),
        None => {
            journal.note(id, TenantState::Found)?;
            Ok(None)
        }
    }
}

/// What the evidence of the single tenant is now.
async fn mark(source: &ConfigSource) -> Result<EvidenceMark, Failure> {
    let reader = Reader::open(source).await?;
    let Ok(tenants) = reader.tenants(Some(DEFAULT_TENANT)).await else {
        return Ok(EvidenceMark { records: 0, leaf_hash: String::new() });
    };
    let Some(tenant) = tenants.first() else {
        return Ok(EvidenceMark { records: 0, leaf_hash: String::new() });
    };
    let head = reader.store.heads(vec![tenant.nid]).await?.remove(&tenant.nid);
    Ok(head.map_or(EvidenceMark { records: 0, leaf_hash: String::new() }, |head| EvidenceMark {
        records: head.seq,
        leaf_hash: hex::encode(&head.leaf_hash),
    }))
}

/// Runs `bulkhead migrate verify`. Fails when something is not as `run` left it.
pub(super) async fn verify(source: &ConfigSource, args: TenancyArgs, as_json: bool) -> Result<(), Failure> {
    let moving = Move::open(source, args)?;
    let Some(journal) = &moving.journal else {
        return Err(Failure::new("no migration has begun here: see `bulkhead migrate plan`"));
    };
    let mut steps = moving.steps().await?;
    steps.pop();
    for step in &journal.tenants {
        if !moving.tenants.contains(&step.id) {
            let there = moving.found(&step.id).await?.is_some();
            let name = format!("tenant {}", step.id);
            steps.push(Step::new(
                &name,
                if there { "done" } else { "todo" },
                if there { "it is there" } else { "it is gone" },
            ));
        }
    }
    steps.push(Box::pin(evidence_step(source, &journal.evidence)).await?);
    let keyless = moving.api.get(&format!("{TENANTS}/{DEFAULT_TENANT}/keyless-calls")).await?;
    let keyless = &keyless["data"];
    if as_json {
        print::json(&json!({ "steps": steps, "keyless": keyless }))?;
    } else {
        told(&steps, false)?;
        keyless_told(keyless);
    }
    match steps.iter().find(|step| step.state != "done") {
        None => Ok(()),
        Some(step) => Err(Failure::new(format!("{}: {}", step.step, step.detail))),
    }
}

fn keyless_told(keyless: &Value) {
    let calls = keyless["calls"].as_u64().unwrap_or(0);
    let addresses = keyless["addresses"].as_array();
    let last = addresses.into_iter().flatten().filter_map(|address| address["lastSeenAt"].as_str()).max();
    let window = if keyless["windowOpen"] == true { "open" } else { "closed" };
    print::talk(&match last {
        None => format!("the window is {window}; nobody has called without a key"),
        Some(last) => format!("the window is {window}; {calls} calls without a key, the last at {last}"),
    });
}

/// Whether the last record from before is where it was, and what it was.
async fn evidence_step(source: &ConfigSource, mark: &EvidenceMark) -> Result<Step, Failure> {
    let step = "evidence";
    if mark.records == 0 {
        return Ok(Step::new(step, "done", "there was none before"));
    }
    let reader = Reader::open(source).await?;
    let tenants = reader.tenants(Some(DEFAULT_TENANT)).await?;
    let Some(tenant) = tenants.first() else {
        return Ok(Step::new(step, "todo", "the tenant's records are gone"));
    };
    let scope = Scope::tenant(tenant.nid);
    let hashes = reader.store.leaf_hashes(scope, tenant.nid, mark.records, mark.records).await?;
    let same = hashes.first().is_some_and(|hash| hex::encode(hash) == mark.leaf_hash);
    Ok(if same {
        Step::new(step, "done", format!("the {} records from before are there and unchanged", mark.records))
    } else {
        Step::new(step, "blocked", format!("record {} from before is not what it was", mark.records))
    })
}
