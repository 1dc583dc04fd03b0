//! Fills a store with sealed records, for measuring what grows with them.
//!
//! `cargo run --release -p bh-store --example fill -- URL RECORDS TENANTS [HMAC_KEY [PREFIX]]`: tenants `PREFIX0`,
//! `PREFIX1`, ... (`fill-0`, ...) get RECORDS records in turn, one a second up to now, in real chains and trees. Run twice, it goes on where it was.

#![allow(clippy::print_stdout, reason = "progress is for reading")]

use std::sync::Arc;

use bh_app::ports::{
    Appended, Batch, EvidenceStore as _, HeadUpdate, Holder, NodeRow, RecordRow, SpendDelta, TenantRow,
    TenantStore as _,
};
use bh_domain::budget::{Owner, Windows};
use bh_domain::evidence::merkle::Frontier;
use bh_domain::evidence::record::{
    AuditTrail, Compliance, ContentHash, Durability, Execution, PolicyDecision, Tokens,
};
use bh_domain::evidence::{ChainHead, Draft, HmacKey, seal};
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::{SECOND_MS, Timestamp};
use bh_store::{Options, SqlStore, open};
use jiff::tz::TimeZone;
use uuid::Uuid;

const CALLER: &str = "fill";
const MODEL: &str = "gpt-5-mini";
const BATCH_RECORDS: usize = 1_024;
/// Records of one tenant in a row: a batch then touches few tenants, as a busy gateway's does.
const RUN: usize = 64;
const COST: NanoUsd = NanoUsd(1_250_000);
const PREFIX_DEFAULT: &str = "fill-";
const KEY_DEFAULT: &str = "fill-fill-fill-fill-fill-fill-fill-fill";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, records, tenants, rest @ ..] = args.as_slice() else {
        return Err("usage: fill URL RECORDS TENANTS [HMAC_KEY [PREFIX]]".into());
    };
    let key = HmacKey::parse(rest.first().map_or(KEY_DEFAULT, String::as_str))?;
    let prefix = rest.get(1).map_or(PREFIX_DEFAULT, String::as_str);
    let (records, tenants) = (records.parse()?, tenants.parse::<usize>()?.max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = open(url, Options::default()).await?;
        let mut filling = Filling::new(&store, prefix, tenants, records, key).await?;
        while filling.left > 0 {
            filling.append(&store).await?;
        }
        println!("{records} records in {tenants} tenants");
        store.close().await;
        Ok(())
    })
}

struct Chain {
    tenant: TenantRow,
    head: ChainHead,
}

struct Filling {
    chains: Vec<Chain>,
    next: usize,
    left: usize,
    now: Timestamp,
    holder: Holder,
    key: HmacKey,
}

impl Filling {
    async fn new(
        store: &SqlStore,
        prefix: &str,
        tenants: usize,
        left: usize,
        key: HmacKey,
    ) -> Result<Self, Failure> {
        let proposed: Result<Vec<_>, _> =
            (0..tenants).map(|n| TenantId::parse(&format!("{prefix}{n}"))).collect();
        let proposed = proposed?.into_iter().map(|id| TenantRow { nid: Nid(Uuid::now_v7()), id }).collect();
        let tenants = store.ensure_tenants(proposed).await?;
        let stored = store.heads(tenants.iter().map(|tenant| tenant.nid).collect()).await?;
        let mut chains = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let head = match stored.get(&tenant.nid) {
                None => ChainHead::default(),
                Some(head) => {
                    let frontier = Frontier::from_bytes(&head.frontier)?;
                    ChainHead { seq: head.seq, leaf_hash: head.leaf_hash, frontier }
                }
            };
            chains.push(Chain { tenant, head });
        }
        let now = Timestamp(jiff::Timestamp::now().as_millisecond());
        Ok(Self { chains, next: 0, left, now, holder: Holder(Uuid::now_v7()), key })
    }

    async fn append(&mut self, store: &SqlStore) -> Result<(), Failure> {
        let mut batch = Batch { holder: self.holder, ..Batch::default() };
        while self.left > 0 && batch.records.len() < BATCH_RECORDS {
            self.run(&mut batch)?;
        }
        match store.append(Arc::new(batch)).await? {
            Appended::Durable => Ok(()),
            Appended::Stale(_) => Err("another process appends to these tenants".into()),
        }
    }

    /// Some records of the next tenant.
    fn run(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let place = self.next % self.chains.len();
        self.next += 1;
        // Enough that no tenant comes twice in one batch.
        let rows = RUN.max(BATCH_RECORDS.div_ceil(self.chains.len()));
        let chain = &mut self.chains[place];
        let from_seq = chain.head.seq;
        for _ in 0..rows.min(self.left) {
            let seconds_ago = i64::try_from(self.left)?;
            self.left -= 1;
            let at = self.now.plus_ms(-seconds_ago * SECOND_MS);
            let draft = draft(&chain.tenant, at);
            let sealed = seal(&draft, &chain.head, &self.key)?;
            for node in chain.head.advance(&sealed) {
                let (nid, level, index, hash) = (chain.tenant.nid, node.level, node.index, node.hash);
                batch.nodes.push(NodeRow { nid, level, index, hash });
            }
            batch.records.push(RecordRow {
                nid: chain.tenant.nid,
                seq: sealed.seq,
                id: draft.id.to_string(),
                at,
                leaf_hash: sealed.leaf_hash,
                caller: CALLER.to_owned(),
                invocation_type: "gateway".to_owned(),
                allowed: true,
                model: MODEL.to_owned(),
                session_id: None,
                record: sealed.canonical.into(),
            });
            add_spend(&mut batch.spend, chain.tenant.nid, &Windows::at(at, &TimeZone::UTC).day);
        }
        batch.heads.push(HeadUpdate {
            nid: chain.tenant.nid,
            from_seq,
            to_seq: chain.head.seq,
            leaf_hash: chain.head.leaf_hash,
            frontier: chain.head.frontier.to_bytes(),
        });
        Ok(())
    }
}

fn add_spend(spend: &mut Vec<SpendDelta>, nid: Nid, day: &str) {
    let one = TokenCounts { input: 900, output: 200, ..TokenCounts::default() };
    if let Some(delta) = spend.iter_mut().rev().find(|delta| delta.nid == nid && delta.window == day) {
        delta.calls += 1;
        delta.tokens.input += one.input;
        delta.tokens.output += one.output;
        delta.cost += COST;
        return;
    }
    let owner = Owner::Caller(CALLER.to_owned());
    let (window, cost) = (day.to_owned(), COST);
    spend.push(SpendDelta { nid, owner, window, calls: 1, denied: 0, failed: 0, tokens: one, cost });
}

fn draft(tenant: &TenantRow, at: Timestamp) -> Draft {
    let id = Uuid::now_v7().simple().to_string();
    Draft {
        agent_id: CALLER.into(),
        audit_trail: AuditTrail { input_hash: ContentHash([0x11; 32]), output_hash: ContentHash([0x22; 32]) },
        classification: None,
        compliance: Compliance { data_location: "eu-central-1".into(), frameworks: vec!["gdpr".into()] },
        correlation_id: format!("req_{id}").into(),
        cost_budget: None,
        durability: Durability::Strict,
        execution: execution(),
        explanations: Vec::new(),
        failover: None,
        failure_reason: None,
        gateway_annotations: Vec::new(),
        id: format!("gw_{id}").into(),
        invocation_type: "gateway".into(),
        key_id: None,
        nid: tenant.nid,
        policy_decision: PolicyDecision {
            action: "allow".into(),
            allowed: true,
            policy_version: "sha256:0000".into(),
            reasons: Vec::new(),
        },
        request_source_id: None,
        retry_attempt: None,
        routing_decision: None,
        sealed_content: None,
        secrets_accessed: Vec::new(),
        session_budget: None,
        session_id: None,
        status: "success".into(),
        team: None,
        tenant_id: tenant.id.as_str().to_owned().into(),
        timestamp: at,
        upstream_auth_mode: None,
        upstream_key_fingerprint: None,
        upstream_key_source: None,
    }
}

fn execution() -> Execution {
    Execution {
        cost: COST,
        cost_nano_usd: COST,
        currency: "USD".into(),
        duration_ms: 640,
        error: None,
        estimated_cost: None,
        http_status: Some(200),
        model_used: MODEL.into(),
        original_model: None,
        pricing_basis: "table".into(),
        pricing_known: true,
        provider: "openai".into(),
        streamed: false,
        tokens: Tokens { input: 900, output: 200, ..Tokens::default() },
        ttft_ms: None,
        usage_estimated: false,
    }
}
