//! `POST /api/v1/tools/select`, in each of the ways in which clients ask (Connectors dossier §2.3).

use axum::response::Response;
use bh_app::tools::{Selected, Selection, ToolView};
use bh_domain::refusal::{Code, Refusal};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{caller, confirmed};
use crate::ask::Ask;
use crate::envelope;

/// A question. What is asked for may stand beside it, in `options` or in `context`; the first of these that says it wins.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "ToolSelection")]
pub(super) struct SelectIn {
    /// What the tools are for, in words.
    query: String,
    /// Several questions at a time: not served yet.
    #[schemars(skip)]
    queries: Option<Value>,
    /// What is asked for.
    options: Option<Knobs>,
    /// The same, for older clients.
    context: Option<Knobs>,
    /// What the client calls its session; told back.
    session: Option<Value>,
    #[schemars(range(min = 1, max = 100))]
    max_tools: Option<usize>,
    #[schemars(range(min = 100, max = 100_000))]
    token_budget: Option<u64>,
    categories: Option<Vec<String>>,
    allowed_categories: Option<Vec<String>>,
    category: Option<String>,
    tenant_id: Option<String>,
}

/// What may be asked for. What else a client says of its context is its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "ToolSelectionOptions")]
struct Knobs {
    /// So many tools at most; 5 unless told otherwise.
    #[schemars(range(min = 1, max = 100))]
    max_tools: Option<usize>,
    /// LLM tokens of what is told of them; 5,000 unless told otherwise.
    #[schemars(range(min = 100, max = 100_000))]
    token_budget: Option<u64>,
    /// Of these kinds alone.
    categories: Option<Vec<String>>,
    /// The same.
    allowed_categories: Option<Vec<String>>,
    /// The same, for one.
    category: Option<String>,
    /// The key's tenant.
    tenant_id: Option<String>,
}

/// What fits.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SelectedTools")]
pub(super) struct Told {
    query: String,
    tools: Tiers,
    performance: Performance,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Value>,
}

/// Tools by how much is told of them.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "ToolTiers")]
struct Tiers {
    /// Everything.
    tier1: Vec<ToolView>,
    /// Without what they take, which `loadUrl` tells.
    tier2: Vec<ToolView>,
    /// Their names.
    tier3: Vec<ToolView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SelectionPerformance")]
struct Performance {
    /// How many tools were looked at.
    #[serde(rename = "totalTools")]
    looked_at: usize,
    /// LLM tokens of what is told.
    #[serde(rename = "tokenUsage")]
    tokens: u64,
    /// LLM tokens that there was room for.
    #[serde(rename = "tokenBudget")]
    budget: u64,
    latency_ms: u64,
}

/// The tools that fit a task, the best first.
pub(crate) async fn select(mut ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let asked: SelectIn = ask.json().await?;
    if asked.queries.is_some() {
        let message = "`queries` is not served yet: ask one `query` at a time";
        return Err(Refusal::new(Code::NotImplemented, message).with("field", "queries"));
    }
    let (selection, session) = asked.selection(|named| confirmed(&caller, named))?;
    let began_ns = ask.doors.clock.monotonic_ns();
    let selected = ask.doors.tools.select(&caller.tenant, &selection).await?;
    let latency_ms = ask.doors.clock.monotonic_ns().saturating_sub(began_ns) / 1_000_000;
    told(&ask, selection.query, session, selected, latency_ms)
}

impl SelectIn {
    fn selection(
        self,
        confirm: impl Fn(Option<&str>) -> Result<(), Refusal>,
    ) -> Result<(Selection, Option<Value>), Refusal> {
        let flat = Knobs {
            max_tools: self.max_tools,
            token_budget: self.token_budget,
            categories: self.categories,
            allowed_categories: self.allowed_categories,
            category: self.category,
            tenant_id: self.tenant_id,
        };
        let (options, context) = (self.options.unwrap_or_default(), self.context.unwrap_or_default());
        for knobs in [&flat, &options, &context] {
            confirm(knobs.tenant_id.as_deref())?;
            bh_app::tools::check_bounds(knobs.max_tools, knobs.token_budget)?;
        }
        let max_tools = flat.max_tools.or(options.max_tools).or(context.max_tools);
        let token_budget = flat.token_budget.or(options.token_budget).or(context.token_budget);
        let categories = flat.kinds().or(options.kinds()).or(context.kinds());
        let categories = categories.unwrap_or_default();
        Ok((Selection { query: self.query, max_tools, token_budget, categories }, self.session))
    }
}

impl Knobs {
    fn kinds(self) -> Option<Vec<String>> {
        let one = self.category.map(|one| vec![one]);
        self.categories.or(self.allowed_categories).or(one)
    }
}

fn told(
    ask: &Ask,
    query: String,
    session: Option<Value>,
    selected: Selected,
    latency_ms: u64,
) -> Result<Response, Refusal> {
    let Selected { tools, tokens, budget, looked_at, categories } = selected;
    let mut tiers = Tiers::default();
    for tool in &tools {
        let tier = match tool.tier {
            Some(1) => &mut tiers.tier1,
            Some(2) => &mut tiers.tier2,
            Some(_) | None => &mut tiers.tier3,
        };
        tier.push(tool.clone());
    }
    let beside = json!({
        "query": query, "tools": tools, "tier1": tiers.tier1, "tier2": tiers.tier2, "tier3": tiers.tier3,
        "totalTokens": tokens,
    });
    let further = Map::from_iter([
        ("categoriesUsed".to_owned(), json!(categories)),
        ("selectionLatency".to_owned(), json!(latency_ms)),
    ]);
    let performance = Performance { looked_at, tokens, budget, latency_ms };
    let data = Told { query, tools: tiers, performance, session };
    envelope::data_beside(ask, StatusCode::OK, &data, further, &beside)
}
