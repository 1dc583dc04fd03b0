//! Is this record what was written? Recomputed from the stored text, with O(log n) reads.

use std::borrow::Cow;

use bh_domain::evidence::canonical::{canonical, parse_strict};
use bh_domain::evidence::merkle::plan::inclusion_ranges;
use bh_domain::evidence::merkle::verify_inclusion;
use bh_domain::evidence::reading::Reading;
use bh_domain::evidence::{GENESIS_HASH, Hash};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use crate::ports::{Columns, StoredRecord};

use super::view::parsed;
use super::{EvidenceReads, Reach, ReadFault, SignedTree, retention};

/// What was checked, and how it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "EvidenceChecks")]
pub struct Checks {
    /// The record's own `hmac-sha256:` signature. `None` for a tombstone, which has none.
    pub signature: Option<bool>,
    /// The row says the same as the record: id, tenant, position, instant, hash, and the columns lists go by. For a
    /// tombstone: retention accounts for it.
    pub row: bool,
    /// The records before and after it are linked to it.
    pub chain: bool,
    /// It is in the tree of a signed checkpoint, at its position.
    pub inclusion: bool,
}

/// The verdict on one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Record id.
    pub id: String,
    /// Tenant.
    pub nid: Nid,
    /// Position in the tenant's chain.
    pub seq: u64,
    /// Retention has removed the content; hash and position are still proven.
    pub purged: bool,
    /// What was checked.
    pub checks: Checks,
    /// RFC 6962 leaf hash, recomputed from the content where there is any.
    pub leaf_hash: Hash,
    /// The checkpoint the proof leads to, as far as there is a sound one.
    pub tree: Option<SignedTree>,
    /// RFC 6962 inclusion proof of `leaf_hash` at position `seq - 1`.
    pub proof: Vec<Hash>,
    /// What is wrong; empty when nothing is.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Whether every check passed.
    #[must_use]
    pub fn valid(&self) -> bool {
        let Checks { signature, row, chain, inclusion } = self.checks;
        signature != Some(false) && row && chain && inclusion
    }
}

/// What the row says differently from the record in it.
fn row_finding(stored: &StoredRecord, reading: &Reading<'_>) -> Option<String> {
    let text = stored.record.as_deref().unwrap_or_default();
    if parsed(stored).is_none() {
        return Some("the stored text is no whole record".to_owned());
    }
    let differs = [
        ("id", reading.id != stored.id),
        ("tenant", reading.nid != stored.nid.to_string()),
        ("position", reading.seq != stored.seq),
        ("leaf hash", reading.leaf_hash != stored.leaf_hash),
    ];
    let what = differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what);
    if let Some(what) = what.or_else(|| differing_column(stored)) {
        return Some(format!("the stored {what} is not the one in the record"));
    }
    let canonical = parse_strict(text.as_bytes()).is_ok_and(|value| canonical(&value) == text);
    (!canonical).then(|| "the stored text is not in canonical form".to_owned())
}

/// What a record says in the columns that lists go by: a tenth of it, because every record of a chain is asked.
#[derive(serde::Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    agent_id: Cow<'a, str>,
    #[serde(borrow)]
    invocation_type: Cow<'a, str>,
    #[serde(borrow, default)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    execution: ListedExecution<'a>,
    policy_decision: ListedDecision,
}

#[derive(serde::Deserialize)]
struct ListedExecution<'a> {
    #[serde(borrow)]
    model_used: Cow<'a, str>,
}

#[derive(serde::Deserialize)]
struct ListedDecision {
    allowed: bool,
}

/// Which of the columns that lists go by is not what the record in the row says. `None` also where there is no whole
/// record to compare with.
#[must_use]
pub fn differing_column(stored: &StoredRecord) -> Option<&'static str> {
    let record: Listed<'_> = serde_json::from_str(stored.record.as_deref()?).ok()?;
    let Columns { caller, invocation_type, allowed, model, session_id } = &stored.columns;
    let same = [
        ("instant", Timestamp::parse(&record.timestamp).is_ok_and(|instant| instant == stored.at)),
        ("id", record.id == stored.id),
        ("caller", record.agent_id == *caller),
        ("model", record.execution.model_used == *model),
        ("invocation type", record.invocation_type == *invocation_type),
        ("decision", record.policy_decision.allowed == *allowed),
        ("session", record.session_id.as_deref() == session_id.as_deref()),
    ];
    same.into_iter().find(|(_, same)| !same).map(|(column, _)| column)
}

/// What is wrong, check by check: a check without a finding has passed.
#[derive(Debug, Default)]
struct Findings(Vec<String>);

impl Findings {
    /// Notes what is wrong, if anything, and says whether the check passed.
    fn note(&mut self, finding: Option<String>) -> bool {
        let passed = finding.is_none();
        self.0.extend(finding);
        passed
    }
}

impl EvidenceReads {
    /// Verifies one record; `None` when there is none in reach. Damage is a verdict, not an error.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn verify(&self, reach: &Reach, id: &str) -> Result<Option<Verdict>, ReadFault> {
        let Some(stored) = self.stored(reach, id).await? else { return Ok(None) };
        let scope = Scope::tenant(stored.nid);
        let reading = stored.record.as_deref().map(|text| Reading::of(text.as_bytes()));
        let mut findings = Findings::default();
        let (reading, signature) = match reading {
            None => (None, None),
            Some(Err(error)) => {
                (None, Some(findings.note(Some(format!("the stored text is no record: {error}")))))
            }
            Some(Ok(reading)) => {
                let forged = !reading.signed_by(&self.key);
                let finding = forged.then(|| "the record's signature is not over this content".to_owned());
                (Some(reading), Some(findings.note(finding)))
            }
        };
        let row = match &reading {
            Some(reading) => row_finding(&stored, reading),
            None if stored.record.is_none() => self.unaccounted(&scope, &stored).await?,
            None => Some("the row cannot be compared with a text that is no record".to_owned()),
        };
        let row = findings.note(row);
        let leaf_hash = reading.as_ref().map_or(stored.leaf_hash, |reading| reading.leaf_hash);
        let prev_hash = reading.as_ref().map(|reading| reading.prev_hash);
        let chain = findings.note(self.chain_finding(&scope, &stored, prev_hash, &leaf_hash).await?);
        let (tree, proof, finding) = self.inclusion(&scope, &stored, &leaf_hash).await?;
        let inclusion = findings.note(finding);
        let purged = stored.record.is_none();
        let checks = Checks { signature, row, chain, inclusion };
        let StoredRecord { id, nid, seq, .. } = stored;
        Ok(Some(Verdict { id, nid, seq, purged, checks, leaf_hash, tree, proof, reasons: findings.0 }))
    }

    /// A record without content is a tombstone only if retention says that it went that far.
    async fn unaccounted(&self, scope: &Scope, stored: &StoredRecord) -> Result<Option<String>, ReadFault> {
        let filter = retention::records_of_retention();
        let newest = self.store.records(scope.clone(), filter).await?;
        let before = newest.iter().filter_map(|kept| retention::removed_before(kept, &self.key)).max();
        let accounted = before.is_some_and(|before| stored.at < before);
        Ok((!accounted).then(|| "the content is gone and no record of retention accounts for it".to_owned()))
    }

    /// Which neighbour in the chain does not fit.
    async fn chain_finding(
        &self,
        scope: &Scope,
        stored: &StoredRecord,
        prev_hash: Option<Hash>,
        leaf_hash: &Hash,
    ) -> Result<Option<String>, ReadFault> {
        let (seq, nid) = (stored.seq, stored.nid);
        let rows = self.store.chain(scope.clone(), nid, seq.saturating_sub(1), seq + 1, 3).await?;
        let at = |wanted: u64| rows.iter().find(|row| row.seq == wanted);
        let before = if seq == 1 { Some(GENESIS_HASH) } else { at(seq - 1).map(|row| row.leaf_hash) };
        let Some(before) = before else {
            return Ok(Some(format!("record {} of the chain is missing", seq - 1)));
        };
        if prev_hash.is_some_and(|prev_hash| prev_hash != before) {
            return Ok(Some("`prev_hash` is not the hash of the record before it".to_owned()));
        }
        let Some(next) = at(seq + 1) else {
            let ended = self.size(nid).await? <= seq;
            return Ok((!ended).then(|| format!("record {} of the chain is missing", seq + 1)));
        };
        // A tombstone no longer says what it was linked to; the tree still does.
        let Some(text) = &next.record else { return Ok(None) };
        let linked = Reading::of(text.as_bytes()).is_ok_and(|next| next.prev_hash == *leaf_hash);
        Ok((!linked).then(|| format!("record {} of the chain is not linked to this one", seq + 1)))
    }

    /// Proof and checkpoint, and what is wrong with them.
    async fn inclusion(
        &self,
        scope: &Scope,
        stored: &StoredRecord,
        leaf_hash: &Hash,
    ) -> Result<(Option<SignedTree>, Vec<Hash>, Option<String>), ReadFault> {
        let tree = match self.covering(scope, stored.nid, stored.seq).await {
            Ok(tree) => tree,
            Err(ReadFault::Tree(damage)) => return Ok((None, Vec::new(), Some(damage.to_string()))),
            Err(fault @ (ReadFault::Store(_) | ReadFault::Build(_))) => return Err(fault),
        };
        let Some(index) = stored.seq.checked_sub(1) else {
            return Ok((Some(tree), Vec::new(), Some("positions start at 1".to_owned())));
        };
        let proof = match self.hashes(scope, stored.nid, &inclusion_ranges(index, tree.size)).await {
            Ok(proof) => proof,
            Err(ReadFault::Tree(damage)) => return Ok((Some(tree), Vec::new(), Some(damage.to_string()))),
            Err(fault @ (ReadFault::Store(_) | ReadFault::Build(_))) => return Err(fault),
        };
        let finding = verify_inclusion(leaf_hash, index, tree.size, &proof, &tree.root).err();
        let finding =
            finding.map(|error| format!("the record is not in the tree of the checkpoint: {error}"));
        Ok((Some(tree), proof, finding))
    }
}
