//! What a verification asks for: the credential, and what else it has to have.

use std::net::IpAddr;

use bh_app::keys::{Freshness, LimitUse, Needs, Question};
use bh_domain::keys::permission::PermissionQuery;
use bh_domain::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::credits::CreditsUseIn;
use super::named::{LimitUseIn, uses};
use super::wire::invalid;
use crate::object::Object;

/// One question, as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CredentialQuestion")]
pub(super) struct VerifyIn {
    pub(super) credential: Option<String>,
    #[serde(alias = "expectedAudiences")]
    expected_audiences: Option<Vec<String>>,
    /// An addition to Talos: a query in the permission language.
    permissions: Option<String>,
    /// Likewise: named limits, and what is taken from each.
    #[serde(alias = "rateLimits")]
    rate_limits: Option<Vec<Object<LimitUseIn>>>,
    /// Likewise: how many credits are taken.
    credits: Option<Object<CreditsUseIn>>,
}

/// One question, understood.
#[derive(Debug)]
pub(super) struct Asked {
    credential: String,
    audiences: Vec<String>,
    permissions: Option<PermissionQuery>,
    limits: Vec<LimitUse>,
    credits: Option<u64>,
}

impl VerifyIn {
    /// Reads a question; `place` is what stands before its members in an error.
    pub(super) fn read(self, place: &str) -> Result<Asked, Refusal> {
        let query = self.permissions.filter(|query| !query.is_empty());
        let permissions = query.map(|query| PermissionQuery::parse(&query)).transpose();
        Ok(Asked {
            credential: self.credential.unwrap_or_default(),
            audiences: self.expected_audiences.unwrap_or_default(),
            permissions: permissions.map_err(|error| invalid(&format!("{place}permissions"), error))?,
            limits: uses(self.rate_limits.unwrap_or_default(), place)?,
            credits: self.credits.map(|Object(credits)| credits.read(place)).transpose()?,
        })
    }
}

impl Asked {
    /// Whether it says itself that credits are to be taken, and not only told.
    pub(super) fn takes_credits(&self) -> bool {
        self.credits.is_some_and(|cost| cost > 0)
    }

    pub(super) fn question(&self, freshness: Freshness, address: IpAddr) -> Question<'_> {
        Question {
            credential: &self.credential,
            audiences: &self.audiences,
            freshness,
            address: Some(address),
            counted: true,
            needs: Needs {
                permissions: self.permissions.as_ref(),
                limits: &self.limits,
                credits: self.credits,
            },
        }
    }
}
