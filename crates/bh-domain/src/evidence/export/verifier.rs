//! Checking the records of an export one after the other.

use super::fault::{BadRecord, Fault, VerifyError};
use super::metadata::{Digests, FINGERPRINT_BYTES, Group, Metadata};
use crate::evidence::checkpoint::{Checkpoint, PublicKey, origin};
use crate::evidence::merkle::{LeafSet, verify_multiproof};
use crate::evidence::reading::Reading;
use crate::evidence::{GENESIS_HASH, Hash, HmacKey};

/// What was verified of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The tenant.
    pub tenant_id: String,
    /// The tenant's network id.
    pub nid: String,
    /// Number of records.
    pub records: u64,
    /// Runs of sequence numbers, each `[first, last]`. More than one means that a filter left records out between.
    pub seqs: Vec<[u64; 2]>,
    /// The checkpoint whose tree contains them.
    pub checkpoint: Checkpoint,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Number of records.
    pub records: u64,
    /// The tenants, in the order of the export.
    pub groups: Vec<Summary>,
    /// Whether each record's HMAC signature was checked as well.
    pub hmac_checked: bool,
}

/// Checks an export without holding it: [`push`](Self::push) each record, then [`finish`](Self::finish).
/// 32 bytes are kept of each record of the tenant at hand.
pub struct ExportVerifier {
    groups: Vec<GroupCheck>,
    current: usize,
    index: u64,
    hmac: Option<HmacKey>,
    /// A record stands where another belongs: whether that one is missing or late shows only later.
    displaced: Option<Displaced>,
}

struct Displaced {
    bad: BadRecord,
    nid: String,
    expected_seq: u64,
}

impl std::fmt::Debug for ExportVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportVerifier").field("index", &self.index).finish_non_exhaustive()
    }
}

impl ExportVerifier {
    /// Verifies the text of the metadata and prepares for the records. With `hmac`, each record's own signature is
    /// checked too.
    ///
    /// # Errors
    /// [`VerifyError`] when `key` did not sign the metadata or the checkpoints in it.
    pub fn new(metadata: &[u8], key: &PublicKey, hmac: Option<&HmacKey>) -> Result<Self, VerifyError> {
        let metadata = Metadata::verified(metadata, key)?;
        let total = metadata.total_records;
        let groups = metadata.into_groups().into_iter().map(|group| GroupCheck::new(group, key));
        let groups: Vec<_> = groups.collect::<Result<_, _>>()?;
        if groups.iter().map(|group| group.set.count()).sum::<u64>() != total {
            return Err(VerifyError::Metadata(
                "`total_records` is not the number of records listed".to_owned(),
            ));
        }
        Ok(Self { groups, current: 0, index: 0, hmac: hmac.cloned(), displaced: None })
    }

    /// How many records have come so far.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Checks the next record, given as the text it has in the export.
    ///
    /// # Errors
    /// [`VerifyError::Record`] for the first bad record; [`VerifyError::Digest`] and [`VerifyError::Proof`] at the end
    /// of a tenant's records.
    pub fn push(&mut self, record: &[u8]) -> Result<(), VerifyError> {
        let reading = Reading::of(record);
        if let Some(displaced) = &mut self.displaced {
            displaced.look_at(reading.as_ref().ok());
            return Ok(());
        }
        let reading = reading.map_err(|error| self.malformed(error.to_string()))?;
        self.close_full_groups()?;
        match self.groups.get_mut(self.current) {
            Some(group) if group.awaits(&reading) => {
                group.take(&reading, self.hmac.as_ref()).map_err(|fault| bad(self.index, &reading, fault))?;
            }
            Some(_) | None => self.misplaced(&reading)?,
        }
        self.index += 1;
        Ok(())
    }

    /// The verdict over the whole export.
    ///
    /// # Errors
    /// [`VerifyError`], as for [`push`](Self::push), and when records are missing at the end.
    pub fn finish(mut self) -> Result<Report, VerifyError> {
        if let Some(displaced) = self.displaced {
            return Err(VerifyError::Record(displaced.bad));
        }
        self.close_full_groups()?;
        if let Some(group) = self.groups.get(self.current) {
            let fault = group.missing();
            return Err(VerifyError::Record(BadRecord { index: self.index, id: None, seq: None, fault }));
        }
        let hmac_checked = self.hmac.is_some();
        let groups = self.groups.into_iter().map(|group| group.summary).collect();
        Ok(Report { records: self.index, groups, hmac_checked })
    }

    /// The error for a record that cannot be read; one found before it comes first.
    pub(super) fn malformed(&self, why: String) -> VerifyError {
        if let Some(displaced) = &self.displaced {
            return VerifyError::Record(displaced.bad.clone());
        }
        VerifyError::Record(BadRecord {
            index: self.index,
            id: None,
            seq: None,
            fault: Fault::Malformed(why),
        })
    }

    fn close_full_groups(&mut self) -> Result<(), VerifyError> {
        while let Some(group) = self.groups.get_mut(self.current).filter(|group| group.expected.is_none()) {
            group.close()?;
            self.current += 1;
        }
        Ok(())
    }

    /// Says what a record is doing where another one belongs.
    fn misplaced(&mut self, reading: &Reading<'_>) -> Result<(), VerifyError> {
        let fault = |fault| Err(bad(self.index, reading, fault));
        let Some(home) = self.groups.iter().position(|group| group.summary.nid == reading.nid) else {
            return fault(Fault::Foreign { tenant_id: reading.tenant_id.clone().into_owned() });
        };
        let here = self.groups.get(self.current);
        match self.groups[home].lists(reading) {
            None => fault(Fault::Unlisted),
            Some(false) => fault(Fault::Edited),
            Some(true) if home < self.current => fault(Fault::Repeated),
            Some(true) => match here.and_then(|group| Some((group, group.expected?))) {
                Some((_, expected)) if home == self.current && reading.seq < expected => {
                    fault(Fault::Repeated)
                }
                Some((group, expected_seq)) => {
                    let bad = BadRecord {
                        index: self.index,
                        id: Some(reading.id.clone().into_owned()),
                        seq: Some(reading.seq),
                        fault: group.missing(),
                    };
                    self.displaced = Some(Displaced { bad, nid: group.summary.nid.clone(), expected_seq });
                    Ok(())
                }
                None => fault(Fault::Unlisted),
            },
        }
    }
}

impl Displaced {
    fn look_at(&mut self, reading: Option<&Reading<'_>>) {
        if reading.is_some_and(|reading| reading.nid == self.nid && reading.seq == self.expected_seq) {
            self.bad.fault = Fault::Reordered { expected_seq: self.expected_seq };
        }
    }
}

fn bad(index: u64, reading: &Reading<'_>, fault: Fault) -> VerifyError {
    let id = Some(reading.id.clone().into_owned());
    VerifyError::Record(BadRecord { index, id, seq: Some(reading.seq), fault })
}

/// The records of one tenant, as far as they have come.
struct GroupCheck {
    summary: Summary,
    set: LeafSet,
    fingerprints: Vec<u8>,
    proof: Vec<Hash>,
    expected_digests: (String, String),
    digests: Digests,
    leaves: Vec<Hash>,
    /// Run at hand, and the sequence number that comes next; `None` after the last.
    run: usize,
    expected: Option<u64>,
    last: Option<(u64, Hash)>,
}

impl GroupCheck {
    fn new(group: Group, key: &PublicKey) -> Result<Self, VerifyError> {
        let damaged = |what: &str| VerifyError::Metadata(format!("`{what}` of tenant {}", group.tenant_id));
        let set = group.leaf_set().ok_or_else(|| damaged("seqs"))?;
        let proof = group.proof_hashes().ok_or_else(|| damaged("proof"))?;
        let fingerprints = group.fingerprint_bytes().ok_or_else(|| damaged("fingerprints"))?;
        if fingerprints.len() as u64 != set.count().saturating_mul(FINGERPRINT_BYTES as u64) {
            return Err(damaged("fingerprints"));
        }
        let tenant_id = group.tenant_id;
        let checkpoint = match key.verify(&group.checkpoint) {
            Ok(checkpoint) => checkpoint,
            Err(source) => return Err(VerifyError::Checkpoint { tenant_id, source }),
        };
        if !checkpoint.origin.ends_with(&origin("", &group.nid)) {
            return Err(VerifyError::CheckpointOrigin { tenant_id });
        }
        let records = set.count();
        let summary = Summary { tenant_id, nid: group.nid, records, seqs: group.seqs, checkpoint };
        Ok(Self {
            expected: summary.seqs.first().map(|[first, _]| *first),
            summary,
            set,
            fingerprints,
            proof,
            expected_digests: (group.records_digest, group.signatures_digest),
            digests: Digests::new(),
            leaves: Vec::new(),
            run: 0,
            last: None,
        })
    }

    fn awaits(&self, reading: &Reading<'_>) -> bool {
        self.expected == Some(reading.seq) && self.summary.nid == reading.nid
    }

    fn take(&mut self, reading: &Reading<'_>, hmac: Option<&HmacKey>) -> Result<(), Fault> {
        let fingerprint = self.digests.push(&reading.leaf_hash, &reading.signature);
        if self.fingerprint(self.leaves.len()) != Some(&fingerprint) {
            return Err(Fault::Edited);
        }
        let linked = match self.last {
            Some((seq, leaf_hash)) if seq + 1 == reading.seq => reading.prev_hash == leaf_hash,
            Some(_) | None => reading.seq != 1 || reading.prev_hash == GENESIS_HASH,
        };
        if !linked {
            return Err(Fault::BrokenLink);
        }
        if hmac.is_some_and(|key| !reading.signed_by(key)) {
            return Err(Fault::Signature);
        }
        self.leaves.push(reading.leaf_hash);
        self.last = Some((reading.seq, reading.leaf_hash));
        self.advance(reading.seq);
        Ok(())
    }

    fn advance(&mut self, seq: u64) {
        let ended = self.summary.seqs.get(self.run).is_some_and(|[_, last]| *last == seq);
        self.run += usize::from(ended);
        self.expected =
            if ended { self.summary.seqs.get(self.run).map(|[first, _]| *first) } else { Some(seq + 1) };
    }

    fn fingerprint(&self, position: usize) -> Option<&[u8; FINGERPRINT_BYTES]> {
        self.fingerprints.as_chunks().0.get(position)
    }

    /// Whether a record of this tenant is listed: `None` when its sequence number is not, and whether it is the one
    /// that was signed when it is.
    fn lists(&self, reading: &Reading<'_>) -> Option<bool> {
        let position = self.set.rank(reading.seq.checked_sub(1)?)?;
        let fingerprint = Digests::new().push(&reading.leaf_hash, &reading.signature);
        Some(self.fingerprint(usize::try_from(position).ok()?) == Some(&fingerprint))
    }

    fn missing(&self) -> Fault {
        Fault::Missing { tenant_id: self.summary.tenant_id.clone(), seq: self.expected.unwrap_or_default() }
    }

    /// Checks, after the last record, that all of them are in the tree of the checkpoint.
    fn close(&mut self) -> Result<(), VerifyError> {
        let tenant_id = self.summary.tenant_id.clone();
        let digests = std::mem::replace(&mut self.digests, Digests::new());
        if digests.finish() != self.expected_digests {
            return Err(VerifyError::Digest { tenant_id });
        }
        let leaves = std::mem::take(&mut self.leaves);
        let Checkpoint { size, root, .. } = &self.summary.checkpoint;
        verify_multiproof((*size, root), &self.set, &leaves, &self.proof)
            .map_err(|source| VerifyError::Proof { tenant_id, source })
    }
}
