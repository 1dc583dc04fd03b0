//! `/v1/evidence`: lists, one record, its neighbours, its trace, its proof, exports and checkpoints (Talon dossier
//! sections 2.4 and 5). A tenant key sees its own tenant; an operator names one, or `*`.

pub(crate) mod described;
mod params;

pub(crate) use described::chapter;

use axum::body::Body;
use axum::response::Response;
use bh_app::evidence::{
    Checks, EXPORT_RECORDS_MAX, ExportFormat, ExportQuery, Found, IndexEntry, PAGE_RECORDS_MAX, Reach,
    TIMELINE_RECORDS_MAX, Verdict, cursor, parse_cursor,
};
use bh_app::ports::EvidenceFilter;
use bh_domain::evidence::hex;
use bh_domain::refusal::{Code, Refusal};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::ask::Ask;
use crate::respond;
use params::no_record;
pub(crate) use params::{
    Params, Reader, attachment, file_name, file_name_of, in_order, instant, limit, read_fault, unreadable,
};

const LIST_DEFAULT: u32 = 50;
const TIMELINE_DEFAULT: u32 = 3;
const EXPORT_DEFAULT: u32 = 1_000;
const LIST_PARAMETERS: &[&str] =
    &["agent_id", "limit", "from", "to", "allowed", "model", "invocation_type", "session_id", "cursor"];
const LIST_HINT: &str =
    "These are index fields: GET /v1/evidence/{id} is the whole record, /v1/evidence/{id}/verify its proof";

/// A page of the index.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvidencePage")]
struct Listed {
    /// `index`.
    layer: &'static str,
    /// Newest first.
    entries: Vec<IndexEntry>,
    hint: &'static str,
    /// Where the next page begins; `null` on the last.
    next_cursor: Option<String>,
}

/// One page of the index.
pub(crate) async fn list(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, LIST_PARAMETERS)?;
    let reader = Reader::of(&ask);
    let filter = filter(&params)?;
    let reach = reader.reach_in(&params).await?;
    let page = reader.doors.evidence.page(&reach, filter).await.map_err(read_fault)?;
    let next_cursor = page.next.as_ref().map(cursor);
    respond::json(&Listed { layer: "index", entries: page.entries, hint: LIST_HINT, next_cursor })
}

fn filter(params: &Params) -> Result<EvidenceFilter, Refusal> {
    let (from, to) = params.span()?;
    let after = params.text("cursor").map(|text| parse_cursor(&text)).transpose();
    Ok(EvidenceFilter {
        caller: params.text("agent_id"),
        from,
        to,
        allowed: params.flag("allowed")?,
        model: params.text("model"),
        invocation_type: params.text("invocation_type"),
        session_id: params.text("session_id"),
        after: after.map_err(|error| unreadable("cursor", &error))?,
        oldest_first: false,
        limit: params.number("limit", LIST_DEFAULT, PAGE_RECORDS_MAX)?,
    })
}

/// Records around one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvidenceTimeline")]
struct Neighbours {
    /// In the order of time.
    entries: Vec<IndexEntry>,
}

/// A record among its neighbours in time.
pub(crate) async fn timeline(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &["around", "before", "after"])?;
    let reader = Reader::of(&ask);
    let missing =
        || Refusal::new(Code::InvalidRequest, "The query parameter `around` is missing; give a record's id");
    let around = params.text("around").ok_or_else(missing)?;
    let before = params.count("before", TIMELINE_DEFAULT, TIMELINE_RECORDS_MAX)?;
    let after = params.count("after", TIMELINE_DEFAULT, TIMELINE_RECORDS_MAX)?;
    let reach = reader.reach_in(&params).await?;
    let entries = reader.doors.evidence.timeline(&reach, &around, before, after).await.map_err(read_fault)?;
    respond::json(&Neighbours { entries: entries.ok_or_else(no_record)? })
}

/// A whole record, byte for byte as it is stored.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    let named = Named::of(&ask)?;
    let reach = named.reach().await?;
    let found = named.reader.doors.evidence.record(&reach, &named.id).await.map_err(read_fault)?;
    match found.ok_or_else(no_record)? {
        Found::Tombstone(left) => respond::json(&left),
        Found::Record(text) => {
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

/// A record and what belongs to the same call.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvidenceTrace")]
struct Traced {
    /// The record, or what is left of it.
    #[schemars(with = "Option<Map<String, Value>>")]
    evidence: Option<Box<RawValue>>,
    /// Every record of the call, oldest first.
    steps: Vec<IndexEntry>,
    /// Whether all were looked at that might belong to it.
    complete: bool,
}

/// A record with everything that belongs to the same call.
pub(crate) async fn trace(ask: Ask) -> Result<Response, Refusal> {
    let named = Named::of(&ask)?;
    let reach = named.reach().await?;
    let trace = named.reader.doors.evidence.trace(&reach, &named.id).await.map_err(read_fault)?;
    let trace = trace.ok_or_else(no_record)?;
    let evidence = trace.evidence.raw();
    respond::json(&Traced { evidence, steps: trace.steps, complete: trace.complete })
}

/// Whether a record is what was written, with the proof.
pub(crate) async fn verify(ask: Ask) -> Result<Response, Refusal> {
    let named = Named::of(&ask)?;
    let reach = named.reach().await?;
    let evidence = &named.reader.doors.evidence;
    let verdict = evidence.verify(&reach, &named.id).await.map_err(read_fault)?.ok_or_else(no_record)?;
    respond::json(&Verified::of(&verdict, &evidence.public_key()))
}

/// A verdict on one record, with the proof. Hashes are hexadecimal.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvidenceVerdict")]
struct Verified<'v> {
    id: &'v str,
    /// Whether every check passed.
    valid: bool,
    checks: Checks,
    /// Position in the tenant's chain.
    seq: u64,
    /// Retention has removed the content; hash and position are still proven.
    purged: bool,
    tree_size: Option<u64>,
    /// RFC 6962 leaf hash.
    leaf_hash: String,
    /// RFC 6962 inclusion proof of it.
    inclusion_proof: Vec<String>,
    /// The checkpoint that the proof leads to, a signed note.
    checkpoint: Option<&'v str>,
    public_key: &'v str,
    /// What is wrong; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl<'v> Verified<'v> {
    fn of(verdict: &'v Verdict, public_key: &'v str) -> Self {
        Self {
            id: &verdict.id,
            valid: verdict.valid(),
            checks: verdict.checks,
            seq: verdict.seq,
            purged: verdict.purged,
            tree_size: verdict.tree.as_ref().map(|tree| tree.size),
            leaf_hash: hex::encode(&verdict.leaf_hash),
            inclusion_proof: verdict.proof.iter().map(|hash| hex::encode(hash)).collect(),
            checkpoint: verdict.tree.as_ref().map(|tree| tree.note.as_str()),
            public_key,
            reason: (!verdict.reasons.is_empty()).then(|| verdict.reasons.join("; ")),
        }
    }
}

/// A request about one record: who asks, whose data is meant, and the record's id.
struct Named {
    reader: Reader,
    params: Params,
    id: String,
}

impl Named {
    fn of(ask: &Ask) -> Result<Self, Refusal> {
        Ok(Self { reader: Reader::of(ask), params: Params::of(ask, &[])?, id: ask.path("id").to_owned() })
    }

    async fn reach(&self) -> Result<Reach, Refusal> {
        self.reader.reach_in(&self.params).await
    }
}

/// A signed checkpoint.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvidenceCheckpoint")]
struct Checkpoint<'t> {
    tenant_id: &'t str,
    /// Records in the tree.
    size: u64,
    /// RFC 6962 root hash, in hexadecimal.
    root: String,
    /// The checkpoint itself, a signed note.
    note: &'t str,
    public_key: String,
}

/// The newest signed checkpoint over everything the tenant has on record.
pub(crate) async fn checkpoint(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &[])?;
    let reader = Reader::of(&ask);
    let reach = reader.reach_in(&params).await?;
    let evidence = &reader.doors.evidence;
    let tree = evidence.checkpoint(&reach).await.map_err(read_fault)?.ok_or_else(|| one_tenant(&reach))?;
    respond::json(&Checkpoint {
        tenant_id: reach.tenant_id(),
        size: tree.size,
        root: hex::encode(&tree.root),
        note: &tree.note,
        public_key: evidence.public_key(),
    })
}

fn one_tenant(reach: &Reach) -> Refusal {
    match reach {
        Reach::Everywhere => {
            let message =
                "A checkpoint is of one tenant's tree; name it with the query parameter `tenant_id`";
            Refusal::new(Code::InvalidRequest, message)
        }
        Reach::Tenant { .. } | Reach::Nobody { .. } => Refusal::new(Code::NotFound, "No such tenant"),
    }
}

/// What an export is asked for with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EvidenceExport")]
struct ExportBody {
    tenant_id: Option<String>,
    agent_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[schemars(range(min = 1, max = EXPORT_RECORDS_MAX))]
    limit: Option<u64>,
    format: Option<String>,
    session_id: Option<String>,
    violations_only: Option<bool>,
}

/// An export, streamed as a download.
pub(crate) async fn export(mut ask: Ask) -> Result<Response, Refusal> {
    let reader = Reader::of(&ask);
    let body: ExportBody = ask.json().await?;
    let query = export_query(&body)?;
    let reach = reader.reach(body.tenant_id.as_deref()).await?;
    let now = reader.doors.clock.now();
    let pieces = reader.doors.evidence.export(&reach, &query, now).await.map_err(read_fault)?;
    let name = file_name("evidence", &reach, now, query.format.extension());
    attachment(pieces, query.format.media_type(), &name).await
}

fn export_query(body: &ExportBody) -> Result<ExportQuery, Refusal> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let named = given(&body.format).unwrap_or_else(|| "json".to_owned());
    let format = ExportFormat::parse(&named).ok_or_else(|| {
        let known = ExportFormat::NAMES.join("`, `");
        Refusal::new(Code::InvalidRequest, format!("`format` is `{named}`; it must be one of `{known}`"))
    })?;
    let (from, to) = (instant("from", body.from.as_deref())?, instant("to", body.to.as_deref())?);
    let (from, to) = in_order(from, to)?;
    Ok(ExportQuery {
        caller: given(&body.agent_id),
        from,
        to,
        session_id: given(&body.session_id),
        violations_only: body.violations_only.unwrap_or(false),
        limit: limit(body.limit, EXPORT_DEFAULT, EXPORT_RECORDS_MAX)?,
        format,
    })
}

#[cfg(test)]
mod tests {
    use bh_app::evidence::SignedTree;
    use bh_domain::tenant::Nid;
    use serde_json::json;

    use super::*;

    fn asked(body: Value) -> Result<ExportQuery, Refusal> {
        export_query(&serde_json::from_value(body).unwrap())
    }

    #[test]
    fn an_export_is_json_of_the_newest_thousand_unless_the_body_says_otherwise() {
        let query = asked(json!({})).unwrap();
        let json = ExportFormat::parse("json").unwrap();
        assert_eq!(
            (query.format, query.limit, query.caller, query.violations_only),
            (json, 1_000, None, false)
        );
        let query = asked(json!({"agent_id": "a", "from": "2026-11-01", "to": "", "format": "csv"})).unwrap();
        assert_eq!((query.caller.as_deref(), query.to, query.format.extension()), (Some("a"), None, "csv"));
    }

    #[test]
    fn a_body_that_makes_no_sense_is_refused_by_name() {
        let cases = [
            (
                json!({"format": "html"}),
                "`format` is `html`; it must be one of `json`, `csv`, `ndjson`, `signed-json`, `signed-ndjson`",
            ),
            (json!({"limit": 0}), "`limit` is 0; it must be a whole number from 1 to 1000000"),
            (json!({"limit": 1_000_001}), "`limit` is 1000001; it must be a whole number from 1 to 1000000"),
            (json!({"from": "2026-11-02", "to": "2026-11-01"}), "`from` is later than `to`"),
        ];
        for (body, message) in cases {
            assert_eq!(asked(body).unwrap_err(), Refusal::new(Code::InvalidRequest, message));
        }
        assert!(serde_json::from_value::<ExportBody>(json!({"agent": "a"})).is_err());
    }

    #[test]
    fn a_verdict_tells_the_proof_and_a_reason_only_when_something_is_wrong() {
        let tree = SignedTree { size: 2, root: [1; 32], note: "note\n".to_owned() };
        let checks = Checks { signature: Some(true), row: true, chain: true, inclusion: true };
        let (id, nid, leaf_hash, proof) = ("gw_1".to_owned(), Nid::SYSTEM, [2; 32], vec![[3; 32]]);
        let mut verdict = Verdict {
            id,
            nid,
            seq: 1,
            purged: false,
            checks,
            leaf_hash,
            tree: Some(tree),
            proof,
            reasons: Vec::new(),
        };
        let mut expected = json!({
            "id": "gw_1", "valid": true, "checks": {"signature": true, "row": true, "chain": true, "inclusion": true},
            "seq": 1, "purged": false, "tree_size": 2, "leaf_hash": "02".repeat(32),
            "inclusion_proof": ["03".repeat(32)], "checkpoint": "note\n", "public_key": "key",
        });
        assert_eq!(json!(Verified::of(&verdict, "key")), expected);
        (verdict.checks.chain, verdict.reasons) = (false, vec!["one".to_owned(), "two".to_owned()]);
        (expected["valid"], expected["checks"]["chain"], expected["reason"]) =
            (json!(false), json!(false), json!("one; two"));
        assert_eq!(json!(Verified::of(&verdict, "key")), expected);
    }
}
