//! Which tenant a name or a network id stands for, in files and rows alike.

use std::collections::HashSet;
use std::sync::Arc;

use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;

use super::{Origin, Snapshot, Tenant};

impl Snapshot {
    /// The tenant with this network id.
    #[must_use]
    pub fn tenant_by_nid(&self, nid: Nid) -> Option<Arc<Tenant>> {
        self.in_force(self.tenants_by_nid.get(&nid), || self.made.by_nid(self.generation, nid))
    }

    /// The tenant with this slug.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.in_force(self.tenants.get(id), || self.made.by_id(self.generation, id))
    }

    /// The tenant with this slug, also one that was deleted: for what remains of it, such as what it owes.
    #[must_use]
    pub fn tenant_ever(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.tenant(id).or_else(|| self.made.ever(id))
    }

    /// A tenant of this configuration as it is by now: one that is a row may have changed since, or be gone.
    pub(crate) fn current(&self, tenant: &Arc<Tenant>) -> Option<Arc<Tenant>> {
        match tenant.origin {
            Origin::File => Some(Arc::clone(tenant)),
            Origin::Implied | Origin::Made(_) => self.tenant_by_nid(tenant.nid),
        }
    }

    /// Every tenant, wherever it comes from, suspended ones included: slug and network id.
    #[must_use]
    pub fn every_tenant(&self) -> Vec<(TenantId, Nid)> {
        let rows = self.made.everyone();
        let rowed: HashSet<Nid> = rows.iter().map(|(_, nid)| *nid).collect();
        let named = self.tenants.values().filter(|tenant| !rowed.contains(&tenant.nid));
        let alive = named.filter(|tenant| tenant.origin == Origin::File || !self.made.is_gone(tenant.nid));
        alive.map(|tenant| (tenant.id.clone(), tenant.nid)).chain(rows).collect()
    }

    /// Every tenant that may owe something of a time that began at `since`: those there are, and those that were deleted later.
    #[must_use]
    pub fn every_debtor(&self, since: Timestamp) -> Vec<(TenantId, Nid)> {
        let named =
            |nid: &Nid| self.tenants_by_nid.get(nid).is_some_and(|tenant| tenant.origin == Origin::File);
        let gone = self.made.gone_since(since).into_iter().filter(|(_, nid)| !named(nid));
        self.every_tenant().into_iter().chain(gone).collect()
    }

    /// What a file names wins over the row; one that was deleted is nobody.
    fn in_force(
        &self,
        named: Option<&Arc<Tenant>>,
        made: impl FnOnce() -> Option<Arc<Tenant>>,
    ) -> Option<Arc<Tenant>> {
        match named {
            Some(tenant) if tenant.origin == Origin::File => Some(Arc::clone(tenant)),
            Some(tenant) => made().or_else(|| (!self.made.is_gone(tenant.nid)).then(|| Arc::clone(tenant))),
            None => made(),
        }
    }
}
