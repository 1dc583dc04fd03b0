//! Who still calls without a key while a tenant's migration window is open (Connectors dossier §12, §15 number 47).

use axum::response::Response;
use bh_app::keyless::OTHERS;
use bh_app::ports::KeylessCaller;
use bh_domain::refusal::Refusal;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;

use super::admin::ID;
use crate::ask::Ask;
use crate::envelope;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeylessCalls {
    /// Whether calls without a key are still let in as this tenant.
    window_open: bool,
    calls: u64,
    addresses: Vec<Address>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "KeylessAddress")]
struct Address {
    address: String,
    calls: u64,
    first_seen_at: String,
    last_seen_at: String,
}

impl From<KeylessCaller> for Address {
    fn from(caller: KeylessCaller) -> Self {
        let KeylessCaller { address, calls, first, last } = caller;
        Self {
            address: address.map_or_else(|| OTHERS.to_owned(), |address| address.to_string()),
            calls,
            first_seen_at: first.rfc3339(),
            last_seen_at: last.rfc3339(),
        }
    }
}

/// `GET /api/v1/admin/tenants/{id}/keyless-calls`: by address, those with the most calls first.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    let nid = ask.doors.tenants.tenant_ever(ask.path(ID))?.nid;
    let keyless = ask.doors.keyless.clone();
    let callers = keyless.of(nid).await.map_err(|fault| fault.refusal())?;
    let told = KeylessCalls {
        window_open: ask.snapshot.keyring.keyless_tenant() == Some(nid),
        calls: callers.iter().map(|caller| caller.calls).sum(),
        addresses: callers.into_iter().map(Address::from).collect(),
    };
    envelope::data(&ask, StatusCode::OK, &told, Map::new())
}
