//! Host names of tenants that were made at run time: each leads to one tenant, wherever that comes from.

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::TenantId;
use bh_domain::tenant::profile::Settings;

use super::TenantStory;
use crate::snapshot::Snapshot;

/// Refuses a name that the configuration gives to another tenant. Where it begins to later, the configuration wins.
pub(super) fn hosts_free(snapshot: &Snapshot, id: &TenantId, settings: &Settings) -> Result<(), Refusal> {
    let Some(hosts) = &snapshot.hosts else { return Ok(()) };
    for name in &settings.hostnames {
        if let Some(owner) = hosts.exact(name).filter(|owner| owner.id != *id) {
            return Err(taken(name, &format!("a configuration file gives it to `{}`", owner.id)));
        }
    }
    Ok(())
}

impl TenantStory {
    /// What is said of a name that the store would not give.
    pub(super) fn host_taken(&self, name: &str) -> Refusal {
        match self.0.directory.profile_at(name) {
            Some(owner) => taken(name, &format!("`{}` has it", owner.id)),
            None => taken(name, "another tenant has it"),
        }
    }
}

fn taken(name: &str, whose: &str) -> Refusal {
    let message = format!(
        "The host name `{name}` leads to one tenant, and {whose}: take it away there first, or choose another"
    );
    Refusal::new(Code::HostnameTaken, message).with("field", "hostnames").with("hostname", name)
}
