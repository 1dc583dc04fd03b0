//! A tenant's chain and its exports, made as the server makes them.

use std::sync::LazyLock;

use crate::evidence::checkpoint::{Checkpoint, SigningKey, origin};
use crate::evidence::export::{ExportWriter, Format, Group, GroupBuilder, Heading};
use crate::evidence::merkle::plan::multiproof_ranges;
use crate::evidence::merkle::{NodeMap, fetch_plan, range_hashes};
use crate::evidence::record::samples;
use crate::evidence::{ChainHead, HmacKey, Sealed, seal};
use crate::tenant::Nid;
use crate::time::Timestamp;

pub(super) fn signing_key() -> SigningKey {
    SigningKey::from_seed("bulkhead.example", &[7; 32]).unwrap()
}

pub(super) static HMAC: LazyLock<HmacKey> =
    LazyLock::new(|| HmacKey::parse("a signing key of thirty-two bytes").unwrap());

/// One tenant's chain, as a store would hold it.
pub(super) struct Chain {
    pub(super) tenant_id: String,
    pub(super) nid: Nid,
    pub(super) head: ChainHead,
    pub(super) records: Vec<Sealed>,
    pub(super) rows: NodeMap,
}

impl Chain {
    pub(super) fn of(tenant_id: &str, records: u64) -> Self {
        let nid =
            Nid(uuid::Uuid::from_u128(tenant_id.bytes().fold(1, |sum, byte| sum * 31 + u128::from(byte))));
        let (head, rows) = (ChainHead::default(), NodeMap::default());
        let mut chain = Self { tenant_id: tenant_id.to_owned(), nid, head, records: Vec::new(), rows };
        (0..records).for_each(|number| chain.append(number));
        chain
    }

    pub(super) fn append(&mut self, number: u64) {
        let mut draft = if number.is_multiple_of(2) { samples::minimal() } else { samples::full() };
        (draft.id, draft.tenant_id, draft.nid) =
            (format!("gw_{number:012}").into(), self.tenant_id.clone().into(), self.nid);
        let sealed = seal(&draft, &self.head, &HMAC).unwrap();
        self.rows.insert_leaf(sealed.seq - 1, sealed.leaf_hash);
        for node in self.head.advance(&sealed) {
            self.rows.insert_node(node.level, node.index, node.hash);
        }
        self.records.push(sealed);
    }

    pub(super) fn group(&self, seqs: &[u64]) -> Group {
        let mut builder = GroupBuilder::new(&self.tenant_id, self.nid);
        for seq in seqs {
            let sealed = &self.records[*seq as usize - 1];
            let record: crate::evidence::Record = serde_json::from_str(&sealed.canonical).unwrap();
            builder.push(*seq, &sealed.leaf_hash, &record.signature).unwrap();
        }
        let size = self.head.frontier.size();
        let ranges = multiproof_ranges(size, builder.leaf_set());
        assert!(fetch_plan(&ranges).leaf_ranges.iter().all(|range| range.end <= size));
        let proof = range_hashes(&ranges, &self.rows).unwrap();
        let origin = origin("bulkhead.example", &self.nid.to_string());
        let checkpoint =
            Checkpoint { origin, size, root: self.head.frontier.root(), time: Some(Timestamp(0)) };
        builder.finish(signing_key().sign(&checkpoint), &proof)
    }
}

pub(super) fn export(parts: &[(&Chain, &[u64])], format: Format) -> String {
    let groups = parts.iter().map(|(chain, seqs)| chain.group(seqs)).collect();
    let heading = Heading {
        generated_at: Timestamp(1_795_253_400_125),
        bulkhead_version: "0.1.0".to_owned(),
        filter: serde_json::json!({"tenant": "acme"}),
    };
    let mut writer = ExportWriter::new(heading, groups, &signing_key(), format).unwrap();
    let mut text = writer.header();
    for (chain, seqs) in parts {
        seqs.iter().for_each(|seq| writer.record(&chain.records[*seq as usize - 1].canonical, &mut text));
    }
    writer.finish(&mut text).unwrap();
    text
}
