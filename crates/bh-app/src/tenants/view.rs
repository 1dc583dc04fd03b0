//! Tenants as they are told (Connectors dossier §3.1).

use bh_domain::tenant::profile::{Budgets, Features, Limits, Profile, Settings};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::presets::InForce;
use crate::snapshot::{Origin, Snapshot, Tenant};

/// A tenant as it is told: what holds for it in the end, wherever it comes from. Never a key.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Tenant")]
pub struct TenantView {
    /// Slug.
    pub id: String,
    /// Network id.
    pub nid: String,
    /// Name for people.
    pub name: String,
    /// Whom to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Its preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// `active` or `suspended`.
    pub status: &'static str,
    /// Host names that were given to it here; a file's are in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostnames: Option<Vec<String>>,
    /// Numbers in force.
    pub limits: Limits,
    /// Functions in force.
    pub features: Features,
    /// From where it may call.
    pub security: Addresses,
    /// Money in force.
    pub budgets: Budgets,
    /// What its operator wants to remember.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Where it is changed: `api`, or `file`.
    pub managed_by: &'static str,
    /// The id of its key; never the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_id: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// Addresses and ranges.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "TenantSecurity")]
pub struct Addresses {
    /// None = from anywhere.
    #[serde(rename = "allowedIPs")]
    pub allowed_ips: Vec<String>,
}

impl TenantView {
    /// One that was made at run time.
    pub(super) fn of_row(snapshot: &Snapshot, profile: &Profile) -> Self {
        let InForce { limits, features, budgets } = snapshot.made.presets().in_force(&profile.settings);
        let Settings { name, email, plan, hostnames, security, metadata, .. } = profile.settings.clone();
        Self {
            id: profile.id.to_string(),
            nid: profile.nid.to_string(),
            name: name.unwrap_or_else(|| profile.id.to_string()),
            email,
            plan,
            status: profile.status.as_str(),
            hostnames: Some(hostnames),
            limits,
            features,
            security: Addresses { allowed_ips: security.allowed_ips },
            budgets,
            metadata,
            managed_by: "api",
            api_key_id: profile.api_key.as_ref().map(|id| id.as_str().to_owned()),
            created_at: Some(profile.created.rfc3339()),
            updated_at: Some(profile.updated.rfc3339()),
        }
    }

    /// One that a configuration names, or that is always there.
    pub(super) fn of_file(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            nid: tenant.nid.to_string(),
            name: tenant.id.to_string(),
            email: None,
            plan: None,
            status: if tenant.active { "active" } else { "suspended" },
            hostnames: None,
            limits: tenant.limits,
            features: tenant.features,
            security: Addresses::default(),
            budgets: Budgets {
                daily: tenant.caps.daily,
                monthly: tenant.caps.monthly,
                session: tenant.caps.session,
            },
            metadata: Map::new(),
            managed_by: match tenant.origin {
                Origin::File => "file",
                Origin::Implied => "installation",
                Origin::Made(_) => "api",
            },
            api_key_id: None,
            created_at: None,
            updated_at: None,
        }
    }
}
