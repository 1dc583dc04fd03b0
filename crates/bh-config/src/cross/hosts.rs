//! Tenants, their network ids and their host names: each belongs to one.

use std::collections::HashMap;

use bh_domain::hostname::HostPattern;
use uuid::Uuid;

use super::Cross;
use crate::path::Path;
use crate::yaml::node::Content;

impl<'c> Cross<'c> {
    pub(super) fn tenants(&mut self) {
        let mut ids: HashMap<&str, usize> = HashMap::new();
        let mut nids: HashMap<Uuid, usize> = HashMap::new();
        let mut hosts: HashMap<&HostPattern, String> = HashMap::new();
        for (index, tenant) in self.config.tenants.iter().enumerate() {
            if let Some(first) = ids.insert(tenant.id.0.as_str(), index) {
                self.say(
                    &format!("tenants[{index}].id"),
                    format!("the id `{}` is taken by tenants[{first}]", tenant.id),
                );
            }
            if let Some(nid) = &tenant.nid
                && let Some(first) = nids.insert(nid.0, index)
            {
                let message = format!("the network id {nid} is taken by tenants[{first}]");
                self.say(&format!("tenants[{index}].nid"), message);
            }
            for (at, host) in tenant.hostnames.iter().enumerate() {
                self.host(&mut hosts, &host.0, format!("tenants[{index}].hostnames[{at}]"));
            }
        }
    }

    /// Seed 003: two entries that normalise to one host name refuse the start.
    pub(super) fn networks(&mut self) {
        let Some(tenancy) = &self.config.multitenancy else { return };
        let mut hosts: HashMap<&HostPattern, String> = HashMap::new();
        let mut overlays: HashMap<Uuid, (usize, Option<&str>)> = HashMap::new();
        for (index, network) in tenancy.networks.iter().enumerate() {
            let path = format!("multitenancy.networks[{index}]");
            self.host(&mut hosts, &network.hostname.0, format!("{path}.hostname"));
            let overlay = network.config_path.as_deref();
            let (first, other) = *overlays.entry(network.id.0).or_insert((index, overlay));
            if other != overlay {
                let message = format!(
                    "multitenancy.networks[{first}] gives the same id another overlay; a tenant has one, or none"
                );
                self.say(&format!("{path}.config_path"), message);
            }
        }
    }

    /// A host name is one tenant's. Both are named as they are written, for they may be spelled differently.
    fn host(&mut self, hosts: &mut HashMap<&'c HostPattern, String>, host: &'c HostPattern, path: String) {
        if let Some(first) = hosts.get(host) {
            let message = format!(
                "`{}` is the same host name as `{}` of {first}: both normalise to `{host}`",
                self.written(&path),
                self.written(first)
            );
            self.say(&path, message);
            return;
        }
        hosts.insert(host, path);
    }

    fn written(&self, path: &str) -> &'c str {
        let node = self.tree.at(&Path::parse(path).unwrap_or_default());
        match node.map(|node| &node.content) {
            Some(Content::Scalar(scalar)) => &scalar.text,
            Some(Content::List(_) | Content::Map(_)) | None => "",
        }
    }

    /// A network leads to one tenant, by its id and by its host name alike.
    pub(super) fn owners(&mut self) {
        let mut hosts: HashMap<&HostPattern, usize> = HashMap::new();
        for (index, tenant) in self.config.tenants.iter().enumerate() {
            hosts.extend(tenant.hostnames.iter().map(|host| (&host.0, index)));
        }
        let nids = self.config.tenants.iter().enumerate().filter_map(|(i, t)| Some((t.nid.as_ref()?.0, i)));
        let mut owners: HashMap<Uuid, usize> = nids.collect();
        let networks = self.config.multitenancy.iter().flat_map(|tenancy| &tenancy.networks);
        for (index, network) in networks.enumerate() {
            let Some(by_host) = hosts.get(&network.hostname.0).copied() else { continue };
            let owner = *owners.entry(network.id.0).or_insert(by_host);
            let claimed = self.config.tenants.get(by_host).and_then(|tenant| tenant.nid.as_ref());
            if owner != by_host || claimed.is_some_and(|nid| *nid != network.id) {
                let other = match claimed.filter(|nid| **nid != network.id) {
                    Some(nid) => format!("whose network id is {nid}"),
                    None => format!("and the id {} belongs to tenants[{owner}]", network.id),
                };
                let message = format!("`{}` is a host name of tenants[{by_host}], {other}", network.hostname);
                self.say(&format!("multitenancy.networks[{index}]"), message);
            }
        }
    }
}
