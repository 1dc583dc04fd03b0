//! `/api/v1/admin/secrets`: the keys that everything sealed depends on, for operators.

use axum::response::Response;
use bh_app::vault::{Unreadable, VaultCheck};
use bh_domain::refusal::Refusal;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::ask::Ask;
use crate::envelope;
use crate::tenants::{actor, reader};

/// What a rotation may say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "MasterKeyRotate")]
pub(crate) struct RotateIn {
    /// Forget older master keys, in place of rotating.
    finish: bool,
}

/// `GET /api/v1/admin/secrets/master-key`: which master keys there are, by their ids.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    reader(&ask)?;
    let status = ask.doors.vault.master_status().await?;
    envelope::data(&ask, StatusCode::OK, &status, Map::new())
}

/// `POST /api/v1/admin/secrets/rotate-master`: wraps every key by another master key, or forgets the older ones.
pub(crate) async fn rotate(mut ask: Ask) -> Result<Response, Refusal> {
    let by = actor(&ask)?;
    let RotateIn { finish } = ask.json().await?;
    let vault = ask.doors.vault.clone();
    let rotated =
        if finish { vault.finish_master_rotation(&by).await? } else { vault.rotate_master(&by).await? };
    envelope::data(&ask, StatusCode::OK, &rotated, Map::new())
}

/// `POST /api/v1/admin/secrets/verify`: opens everything that is sealed, and names what does not open.
pub(crate) async fn verify(ask: Ask) -> Result<Response, Refusal> {
    actor(&ask)?;
    let VaultCheck { keys, secrets, unreadable, unreadable_count } = ask.doors.vault.check().await?;
    let told: Vec<Told> = unreadable.into_iter().map(|found| Told::of(&ask, found)).collect();
    let intact = unreadable_count == 0;
    let data = Checked { intact, data_keys: keys, secrets, unreadable: told, unreadable_count };
    envelope::data(&ask, StatusCode::OK, &data, Map::new())
}

/// What was opened, and what was not.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SecretsCheck")]
pub(crate) struct Checked {
    intact: bool,
    data_keys: u64,
    secrets: u64,
    /// The first of those that do not open.
    unreadable: Vec<Told>,
    unreadable_count: u64,
}

/// Something that does not open, as it is told.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Unreadable")]
struct Told {
    /// The tenant's slug, as far as it is known here.
    tenant_id: Option<String>,
    nid: String,
    /// The secret's name; `null` for a data key.
    secret: Option<String>,
    key_version: u64,
}

impl Told {
    fn of(ask: &Ask, found: Unreadable) -> Self {
        let tenant = ask.snapshot.tenant_by_nid(found.nid);
        Self {
            tenant_id: tenant.map(|tenant| tenant.id.to_string()),
            nid: found.nid.to_string(),
            secret: found.secret,
            key_version: found.key_version,
        }
    }
}
