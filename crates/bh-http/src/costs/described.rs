//! What these doors say of themselves.

use bh_app::costs::{Budget, COST_ROWS_MAX, CostReport, Costs};

use super::{EXPORT_DEFAULT, ExportBody};
use crate::evidence::described::{document, lines, read};
use crate::openapi::{self, Chapter, Operation, Parameter, Schemas};

fn agent() -> Parameter {
    openapi::text("agent_id", "Of this caller.")
}

pub(crate) fn chapter() -> Chapter {
    let about = "What was spent and what is left. Money is a decimal text. Names that end in `_eur` are Talon's: the unit is \
                 `currency`.";
    let show = Operation::get("/v1/costs", "showCosts", "Show today's and this month's spending").tells(
        "200",
        "The spending.",
        Schemas::told::<Costs>,
    );
    let budget = Operation::get("/v1/costs/budget", "showBudget", "Show the state of the budgets").tells(
        "200",
        "The budgets.",
        Schemas::told::<Budget>,
    );
    let report = Operation::get("/v1/costs/report", "reportCosts", "Report spending over days").tells(
        "200",
        "The report.",
        Schemas::told::<CostReport>,
    );
    let days = [openapi::instant("from", "First day."), openapi::instant("to", "Last day, included.")];
    let text =
        format!("Streams at most `limit` rows as a download: {EXPORT_DEFAULT}, up to {COST_ROWS_MAX}.");
    let export = Operation::post("/v1/costs/export", "exportCosts", "Export the rows behind the sums")
        .text(&text)
        .reads(Schemas::taken::<ExportBody>)
        .tells_as("200", "The document.", &[("application/json", document), ("text/csv", lines)])
        .with_headers(&[("Content-Disposition", "The name of the file.")]);
    let reads =
        [read(show, [agent()]), read(budget, [agent()]), read(report, [agent()].into_iter().chain(days))];
    Chapter::new("Costs", about, reads.into_iter().chain([export]).collect())
}
