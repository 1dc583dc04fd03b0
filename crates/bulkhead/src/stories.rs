//! The stories that reach outside, from their parts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bh_adapters::{HttpUpstream, PublicTokenizers};
use bh_app::budgets::BudgetKeeper;
use bh_app::identity::Gate;
use bh_app::llm::{LlmStory, Parts};
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, SystemEntropy};
use bh_app::recorder::Recorder;
use bh_app::snapshot::Live;
use bh_app::tools::{ToolParts, ToolStory};
use bh_app::vault::Vault;
use bh_store::SqlStore;

/// LLM calls.
pub(crate) fn llm_story(
    gate: &Gate,
    budgets: &BudgetKeeper,
    recorder: &Recorder,
    (upstream, vault): (Arc<HttpUpstream>, Vault),
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> LlmStory {
    LlmStory::new(Parts {
        gate: gate.clone(),
        budgets: budgets.clone(),
        recorder: recorder.clone(),
        upstream,
        tokenizer: Arc::new(PublicTokenizers),
        vault,
        clock: Arc::clone(clock),
        entropy: Arc::new(SystemEntropy),
        metrics: Arc::clone(metrics),
        cutting: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
    })
}

/// Tools.
pub(crate) fn tool_story(
    sql: &SqlStore,
    (upstream, vault): (&Arc<HttpUpstream>, &Vault),
    recorder: &Recorder,
    live: &Live,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> ToolStory {
    ToolStory::new(ToolParts {
        store: Arc::new(sql.clone()),
        upstream: Arc::clone(upstream) as _,
        vault: vault.clone(),
        recorder: recorder.clone(),
        tokenizer: Arc::new(PublicTokenizers),
        live: Arc::clone(live),
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
    })
}
