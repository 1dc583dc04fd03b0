//! `bulkhead audit verify`: one record, a session, everything on record, or an export offline.

use std::path::PathBuf;

use bh_app::audit::{Anchored, check_anchors};
use bh_app::evidence::{IndexEntry, PAGE_RECORDS_MAX, Verdict};
use bh_app::ports::{EvidenceFilter, EvidenceStore};
use bh_domain::tenant::{Nid, Scope};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::chain::{ChainFault, ChainWalk};
use super::file::{self, FileCheck};
use super::reader::{Reader, Tenant};
use super::table::Table;
use crate::cli::{Failure, print};
use crate::load::ConfigSource;

/// Rows of a chain that one read spans.
const CHAIN_PAGE: u32 = 1_000;
/// The installation, where tenants are listed.
const INSTALLATION: &str = "installation";
/// The store counts in signed integers.
const SEQ_MAX: u64 = u64::MAX >> 1;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["id", "session", "all", "file"]))]
pub(crate) struct VerifyArgs {
    /// The record with this id: signature, row, place in the chain, proof of inclusion.
    id: Option<String>,
    /// Every record of this session.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Every record, from the first on: contents, signatures, order, gaps, checkpoints.
    #[arg(long)]
    all: bool,
    /// A signed export, offline: ours with the public key, Talon's with its HMAC key.
    #[arg(long, value_name = "EXPORT")]
    file: Option<PathBuf>,
    /// Only this tenant's records.
    #[arg(long, value_name = "TENANT", conflicts_with = "file")]
    tenant: Option<String>,
    /// The public key that must have signed the export, or a file with it.
    #[arg(long, value_name = "KEY|FILE", requires = "file")]
    public_key: Option<String>,
    /// File with the HMAC key of the records' own signatures; for Talon's exports TALON_SIGNING_KEY does too.
    #[arg(long, value_name = "FILE", requires = "file")]
    hmac_key_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `bulkhead audit verify`. Fails when anything is not as it was written.
pub(super) async fn verify(source: &ConfigSource, args: VerifyArgs) -> Result<(), Failure> {
    let VerifyArgs { id, session, file, tenant, public_key, hmac_key_file, json, .. } = args;
    if let Some(file) = file {
        return file::verify(&FileCheck { file, public_key, hmac_key_file, json });
    }
    let reader = Reader::open(source).await?;
    match (id, session) {
        (Some(id), _) => one(&reader, tenant.as_deref(), &id, json).await,
        (None, Some(session)) => of_session(&reader, tenant.as_deref(), session, json).await,
        (None, None) => everything(&reader, tenant.as_deref(), json).await,
    }
}

async fn one(reader: &Reader, tenant: Option<&str>, id: &str, json: bool) -> Result<(), Failure> {
    let reach = reader.reach(tenant).await?;
    let verdict = reader.reads.verify(&reach, id).await?;
    let verdict = verdict.ok_or_else(|| Failure::new(format!("there is no record `{id}`")))?;
    report(&[verdict], json)
}

async fn of_session(
    reader: &Reader,
    tenant: Option<&str>,
    session: String,
    json: bool,
) -> Result<(), Failure> {
    let reach = reader.reach(tenant).await?;
    let mut filter = EvidenceFilter {
        session_id: Some(session),
        oldest_first: true,
        limit: PAGE_RECORDS_MAX,
        ..Default::default()
    };
    let mut verdicts = Vec::new();
    loop {
        let page = reader.reads.page(&reach, filter.clone()).await?;
        for entry in &page.entries {
            let id = match entry {
                IndexEntry::Record(record) => record.id.as_ref(),
                IndexEntry::Tombstone(left) => &left.id,
            };
            verdicts.extend(reader.reads.verify(&reach, id).await?);
        }
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    if verdicts.is_empty() {
        return Err(Failure::new("there is no record of this session"));
    }
    report(&verdicts, json)
}

/// Prints a line a record, and fails with the first bad one.
fn report(verdicts: &[Verdict], json: bool) -> Result<(), Failure> {
    if json {
        print::json(&verdicts.iter().map(verdict_json).collect::<Vec<_>>())?;
    } else {
        let mut table = Table::new(&["VERDICT", "ID", "SEQ", "WHY"]);
        for verdict in verdicts {
            let word = if verdict.valid() { "VALID" } else { "INVALID" };
            let why =
                if verdict.purged { vec!["content removed by retention".to_owned()] } else { Vec::new() };
            let why = [why, verdict.reasons.clone()].concat().join("; ");
            table.row([word.to_owned(), verdict.id.clone(), verdict.seq.to_string(), why]);
        }
        table.print()?;
    }
    let Some(bad) = verdicts.iter().find(|verdict| !verdict.valid()) else { return Ok(()) };
    Err(Failure::new(format!("record {}, seq {}: {}", bad.id, bad.seq, bad.reasons.join("; "))))
}

fn verdict_json(verdict: &Verdict) -> Value {
    json!({
        "id": verdict.id,
        "nid": verdict.nid.to_string(),
        "seq": verdict.seq,
        "valid": verdict.valid(),
        "purged": verdict.purged,
        "checks": verdict.checks,
        "reasons": verdict.reasons,
    })
}

/// What was found in one tenant's chain.
struct Walked {
    tenant: Tenant,
    records: u64,
    tombstones: u64,
    fault: Option<ChainFault>,
}

async fn everything(reader: &Reader, tenant: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut walked = Vec::new();
    for tenant in reader.tenants(tenant).await? {
        walked.push(walk(reader, tenant).await?);
    }
    let anchored = match tenant {
        Some(_) => None,
        None => installation(reader, &mut walked).await?,
    };
    if json {
        let one = |walked: &Walked| {
            json!({
                "tenant_id": walked.tenant.id,
                "records": walked.records,
                "purged": walked.tombstones,
                "valid": walked.fault.is_none(),
                "reason": walked.fault.as_ref().map(ToString::to_string),
            })
        };
        let mut told: Vec<Value> = walked.iter().map(one).collect();
        told.extend(anchored.as_ref().map(anchored_json));
        print::json(&told)?;
    } else {
        let mut table = Table::new(&["VERDICT", "TENANT", "RECORDS", "PURGED", "WHY"]);
        for one in &walked {
            let word = if one.fault.is_none() { "VALID" } else { "INVALID" };
            let why = one.fault.as_ref().map(ToString::to_string).unwrap_or_default();
            let (records, tombstones) = (one.records.to_string(), one.tombstones.to_string());
            table.row([word.to_owned(), one.tenant.id.clone(), records, tombstones, why]);
        }
        table.print()?;
        anchored.iter().for_each(anchored_told);
    }
    if let Some(fault) = anchored.and_then(|anchored| anchored.fault) {
        return Err(Failure::new(format!("audit trail: {fault}")));
    }
    let bad = walked.iter().find_map(|one| Some((&one.tenant.id, one.fault.as_ref()?)));
    bad.map_or(Ok(()), |(tenant, fault)| Err(Failure::new(format!("tenant {tenant}: {fault}"))))
}

/// The installation's own chain, where it has one, and what it proves: the audit trails of all tenants.
async fn installation(reader: &Reader, walked: &mut Vec<Walked>) -> Result<Option<Anchored>, Failure> {
    if !reader.store.heads(vec![Nid::SYSTEM]).await?.contains_key(&Nid::SYSTEM) {
        return Ok(None);
    }
    walked.push(walk(reader, Tenant { id: INSTALLATION.to_owned(), nid: Nid::SYSTEM }).await?);
    Ok(Some(check_anchors(reader.store.trails(), reader.store.as_ref()).await?))
}

fn anchored_json(anchored: &Anchored) -> Value {
    json!({
        "audit_events": anchored.events,
        "anchors": anchored.anchors,
        "forgotten": anchored.forgotten,
        "not_anchored_yet": anchored.waiting,
        "valid": anchored.fault.is_none(),
        "reason": anchored.fault.as_ref().map(ToString::to_string),
    })
}

fn anchored_told(anchored: &Anchored) {
    let Anchored { anchors, events, forgotten, waiting, fault: _ } = anchored;
    print::talk(&format!(
        "audit trail: {events} events in {anchors} records, {forgotten} gone with time, {waiting} not on record yet"
    ));
}

async fn walk(reader: &Reader, tenant: Tenant) -> Result<Walked, Failure> {
    // The checkpoint before the head: what it covers is then never newer than the head.
    let newest = reader.store.checkpoint(Scope::tenant(tenant.nid), tenant.nid).await?;
    let signed = match newest.map(|newest| reader.public_key.verify(&newest.note)).transpose() {
        Ok(signed) => signed,
        Err(error) => return Ok(Walked { tenant, records: 0, tombstones: 0, fault: Some(error.into()) }),
    };
    let mut walk = ChainWalk::new(&tenant.id, &reader.key, signed);
    let fault = match rows(reader, &tenant, &mut walk).await? {
        Ok(()) => unaccounted(reader, &tenant, &walk).await?,
        Err(fault) => Some(fault),
    };
    Ok(Walked { records: walk.records(), tombstones: walk.tombstones(), tenant, fault })
}

/// Walks a chain to the head it has now: a gateway may go on writing meanwhile.
async fn rows(
    reader: &Reader,
    tenant: &Tenant,
    walk: &mut ChainWalk,
) -> Result<Result<(), ChainFault>, Failure> {
    let (nid, scope) = (tenant.nid, Scope::tenant(tenant.nid));
    let head = reader.store.heads(vec![nid]).await?.remove(&nid);
    // Without a head there must be no row at all: look for one anywhere.
    let last = head.as_ref().map_or(SEQ_MAX, |head| head.seq);
    loop {
        let rows = reader.store.chain(scope.clone(), nid, walk.records() + 1, last, CHAIN_PAGE).await?;
        if let Err(fault) = rows.iter().try_for_each(|stored| walk.take(stored)) {
            return Ok(Err(fault));
        }
        if rows.len() < CHAIN_PAGE as usize {
            return Ok(walk.end(head.as_ref()));
        }
    }
}

/// Content that is gone must be accounted for by retention.
async fn unaccounted(
    reader: &Reader,
    tenant: &Tenant,
    walk: &ChainWalk,
) -> Result<Option<ChainFault>, Failure> {
    let Some(id) = walk.newest_tombstone() else { return Ok(None) };
    let verdict = reader.reads.verify(&tenant.reach(), id).await?;
    let accounted = verdict.is_some_and(|verdict| verdict.checks.row);
    Ok((!accounted).then(|| ChainFault::Unaccounted { id: id.to_owned() }))
}
