//! `/v1/status`: how a tenant is doing today (Talon dossier section 2.4).

use axum::response::Response;
use bh_app::status::Status;
use bh_domain::refusal::Refusal;

use crate::ask::Ask;
use crate::evidence::described::read;
use crate::evidence::{Params, Reader};
use crate::openapi::{Chapter, Operation, Schemas};
use crate::respond;

/// What this door says of itself.
pub(crate) fn chapter() -> Chapter {
    let show = Operation::get("/v1/status", "showStatus", "Show how a tenant is doing today").tells(
        "200",
        "The day so far.",
        Schemas::told::<Status>,
    );
    Chapter::new("Status", "How a tenant is doing.", vec![read(show, [])])
}

/// The day so far.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &[])?;
    let reader = Reader::of(&ask);
    let reach = reader.reach_in(&params).await?;
    let status = reader.doors.status.status(&reach).await;
    respond::json(&status.map_err(|fault| fault.refusal())?)
}
