//! Whose data a read is about (spec: "the tenant never comes from a query parameter", but for operators).

use bh_domain::tenant::{DEFAULT_TENANT, Nid, Scope, TenantId};

use crate::identity::Principal;
use crate::ports::{StoreFault, TenantStore};
use crate::snapshot::Snapshot;

/// The word with which an operator asks for every tenant.
const EVERY_TENANT: &str = "*";

/// Whose data a read is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One tenant's.
    Tenant {
        /// Slug.
        id: String,
        /// Network id.
        nid: Nid,
    },
    /// Every tenant's; operators only.
    Everywhere,
    /// A tenant that does not exist, and so has nothing.
    Nobody {
        /// What was asked for.
        asked: String,
    },
}

impl Reach {
    /// What an authenticated sender may read, given the `tenant_id` it asked for: a tenant key reads its own tenant
    /// whatever it asks for; an operator reads `default`, every tenant with `*` or an empty text, or the one named.
    ///
    /// # Errors
    /// When the store cannot be asked for a tenant that the configuration does not know.
    pub async fn of(
        principal: Option<&Principal>,
        asked: Option<&str>,
        snapshot: &Snapshot,
        store: &dyn TenantStore,
    ) -> Result<Self, StoreFault> {
        match principal {
            Some(Principal::Caller(caller)) => {
                return Ok(Self::Tenant { id: caller.tenant.id.to_string(), nid: caller.tenant.nid });
            }
            // Nobody was authenticated: nothing is theirs to read.
            None => return Ok(Self::Nobody { asked: asked.unwrap_or_default().to_owned() }),
            Some(Principal::Operator(_)) => {}
        }
        let slug = match asked {
            Some("" | EVERY_TENANT) => return Ok(Self::Everywhere),
            Some(slug) => slug,
            None => DEFAULT_TENANT,
        };
        let configured = TenantId::parse(slug).ok().and_then(|id| snapshot.tenant(&id));
        match configured {
            Some(tenant) => Ok(Self::Tenant { id: slug.to_owned(), nid: tenant.nid }),
            None => Self::stored(slug, store).await,
        }
    }

    /// The tenant that the store knows under this slug, configured or not: its evidence outlives its configuration.
    /// `*` or an empty text is every tenant. For operators and the command line.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stored(slug: &str, store: &dyn TenantStore) -> Result<Self, StoreFault> {
        if matches!(slug, "" | EVERY_TENANT) {
            return Ok(Self::Everywhere);
        }
        if TenantId::parse(slug).is_err() {
            return Ok(Self::Nobody { asked: slug.to_owned() });
        }
        let rows = store.tenants_everywhere(Scope::system("an operator names a tenant")).await?;
        let known = rows.into_iter().find(|row| row.id.as_str() == slug);
        Ok(match known {
            Some(row) => Self::Tenant { id: slug.to_owned(), nid: row.nid },
            None => Self::Nobody { asked: slug.to_owned() },
        })
    }

    /// The scope to read with; `None` when there is nothing to read.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Self::Tenant { nid, .. } => Some(Scope::tenant(*nid)),
            Self::Everywhere => Some(Scope::system("an operator reads every tenant")),
            Self::Nobody { .. } => None,
        }
    }

    /// The one tenant, when it is one that exists.
    #[must_use]
    pub fn nid(&self) -> Option<Nid> {
        match self {
            Self::Tenant { nid, .. } => Some(*nid),
            Self::Everywhere | Self::Nobody { .. } => None,
        }
    }

    /// The tenant as bodies name it: its slug, or `*`.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        match self {
            Self::Tenant { id, .. } => id,
            Self::Everywhere => EVERY_TENANT,
            Self::Nobody { asked } => asked,
        }
    }
}
