//! `/v1/costs`: what was spent, what is left, reports and the rows behind them (Talon dossier section 2.4).

mod described;

use axum::response::Response;
use bh_app::costs::{COST_ROWS_MAX, CostExport, Day};
use bh_domain::refusal::{Code, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ask::Ask;
use crate::evidence::{Params, Reader, attachment, file_name, in_order, instant, limit, unreadable};
use crate::respond;

pub(crate) use described::chapter;

const EXPORT_DEFAULT: u32 = 10_000;

/// Today's and this month's spending.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &["agent_id"])?;
    let reader = Reader::of(&ask);
    let reach = reader.reach_in(&params).await?;
    let costs = reader.doors.costs.costs(&reach, params.text("agent_id").as_deref()).await;
    respond::json(&costs.map_err(|fault| fault.refusal())?)
}

/// The state of the budgets.
pub(crate) async fn budget(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &["agent_id"])?;
    let reader = Reader::of(&ask);
    let reach = reader.reach_in(&params).await?;
    let budget = reader.doors.costs.budget(&reach, params.text("agent_id").as_deref()).await;
    respond::json(&budget.map_err(|fault| fault.refusal())?)
}

/// Spending over days.
pub(crate) async fn report(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &["agent_id", "from", "to"])?;
    let reader = Reader::of(&ask);
    params.span()?;
    let (from, to) = (day(&params, "from")?, day(&params, "to")?);
    let reach = reader.reach_in(&params).await?;
    let report = reader.doors.costs.report(&reach, params.text("agent_id").as_deref(), from, to).await;
    respond::json(&report.map_err(|fault| fault.refusal())?)
}

fn day(params: &Params, name: &str) -> Result<Option<Day>, Refusal> {
    let day = params.text(name).map(|text| Day::parse(&text)).transpose();
    day.map_err(|error| unreadable(name, &error))
}

/// What an export is asked for with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CostExport")]
struct ExportBody {
    tenant_id: Option<String>,
    agent_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[schemars(range(min = 1, max = COST_ROWS_MAX))]
    limit: Option<u64>,
    format: Option<String>,
}

/// The rows behind the sums, streamed as a download.
pub(crate) async fn export(mut ask: Ask) -> Result<Response, Refusal> {
    let reader = Reader::of(&ask);
    let body: ExportBody = ask.json().await?;
    let export = export_of(&body)?;
    let reach = reader.reach(body.tenant_id.as_deref()).await?;
    let (media_type, extension) =
        if export.csv { ("text/csv; charset=utf-8", "csv") } else { ("application/json", "json") };
    let name = file_name("costs", &reach, reader.doors.clock.now(), extension);
    attachment(reader.doors.costs.export(&reach, export), media_type, &name).await
}

fn export_of(body: &ExportBody) -> Result<CostExport, Refusal> {
    let csv = match body.format.as_deref() {
        None | Some("" | "json") => false,
        Some("csv") => true,
        Some(other) => {
            let message = format!("`format` is `{other}`; it must be `csv` or `json`");
            return Err(Refusal::new(Code::InvalidRequest, message));
        }
    };
    let (from, to) = (instant("from", body.from.as_deref())?, instant("to", body.to.as_deref())?);
    let (from, to) = in_order(from, to)?;
    let caller = body.agent_id.clone().filter(|caller| !caller.is_empty());
    Ok(CostExport { caller, from, to, limit: limit(body.limit, EXPORT_DEFAULT, COST_ROWS_MAX)?, csv })
}
