//! `/v1/status`: how a tenant is doing today (Talon dossier section 2.4).

use axum::response::Response;
use bh_domain::refusal::Refusal;

use crate::ask::Ask;
use crate::evidence::{Params, Reader};
use crate::respond;

/// The day so far.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    let params = Params::of(&ask, &[])?;
    let reader = Reader::of(&ask);
    let reach = reader.reach_in(&params).await?;
    let status = reader.doors.status.status(&reach).await;
    respond::json(&status.map_err(|fault| fault.refusal())?)
}
