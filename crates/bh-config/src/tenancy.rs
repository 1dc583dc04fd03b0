//! Tenants by host name: which entry of `tenants` a network belongs to, and the settings that its overlay gives it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path as FilePath, PathBuf};

use uuid::Uuid;

use crate::Sources;
use crate::check::{self, Finding};
use crate::cross;
use crate::load::{problems, read_bounded};
use crate::path::Path;
use crate::problem::{Origin, PROBLEMS_MAX, Problem};
use crate::refs;
use crate::schema::{Config, Network, Tenant, TenantKeys};
use crate::shape;
use crate::text::Hostname;
use crate::yaml::node::{Content, Entry, Node};
use crate::yaml::parse;
use crate::yaml::typed::Misfit;

/// The largest overlay file.
const OVERLAY_BYTES_MAX: usize = 1024 * 1024;
/// What an overlay may set (Talos dossier §7.5).
const OVERLAY_KEYS: [&str; 6] = ["talos", "secrets", "credentials", "cache", "rate_limit", "quota"];
/// The secrets that are a tenant's own; the others are the installation's.
const OVERLAY_SECRETS: [&str; 3] = ["hmac", "pagination", "default"];

/// The overlays of a load.
#[derive(Debug, Default)]
pub struct Overlays {
    files: Vec<Overlay>,
    by_network: HashMap<Uuid, usize>,
}

/// One overlay file, which several networks may share.
#[derive(Debug)]
pub struct Overlay {
    /// Where it is.
    pub path: PathBuf,
    /// The settings with the overlay over the configuration's own, or what is wrong with it.
    pub settings: Result<TenantKeys, Vec<Problem>>,
}

impl Overlays {
    /// Every file, once.
    #[must_use]
    pub fn files(&self) -> &[Overlay] {
        &self.files
    }

    /// The position among [`Overlays::files`] of a network's overlay; `None` when it has none.
    #[must_use]
    pub fn of(&self, network: Uuid) -> Option<usize> {
        self.by_network.get(&network).copied()
    }

    /// What is wrong with them, as much as is reported of one load.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.files
            .iter()
            .filter_map(|overlay| overlay.settings.as_ref().err())
            .flatten()
            .take(PROBLEMS_MAX)
            .cloned()
            .collect()
    }
}

/// The tenant of calls without a key, where none is named.
const KEYLESS_TENANT: &str = "default";

impl Config {
    /// Whose calls without a key are (seed 001's migration window); `None`: nobody's, as ever.
    #[must_use]
    pub fn keyless_tenant(&self) -> Option<&str> {
        let tenancy =
            self.multi_tenant.as_ref().filter(|tenancy| tenancy.enabled && !tenancy.require_api_key)?;
        Some(tenancy.fallback_tenant_id.as_ref().map_or(KEYLESS_TENANT, |id| id.0.as_str()))
    }

    /// The networks in force: none unless `multitenancy.enabled`.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        let tenancy = self.multitenancy.as_ref().filter(|tenancy| tenancy.enabled);
        tenancy.map(|tenancy| tenancy.networks.as_slice()).unwrap_or_default()
    }

    /// The entry of `tenants` that each network id belongs to, if there is one: the entry with that `nid`, else the one
    /// with a host name of the network.
    #[must_use]
    pub fn network_owners(&self) -> HashMap<Uuid, &Tenant> {
        let mut owners: HashMap<Uuid, &Tenant> =
            self.tenants.iter().filter_map(|tenant| Some((tenant.nid.as_ref()?.0, tenant))).collect();
        let named =
            self.tenants.iter().flat_map(|tenant| tenant.hostnames.iter().map(move |host| (host, tenant)));
        let hosts: HashMap<&Hostname, &Tenant> = named.collect();
        for network in self.networks() {
            if let Some(tenant) = hosts.get(&network.hostname) {
                owners.entry(network.id.0).or_insert(tenant);
            }
        }
        owners
    }
}

/// What overlays are made from.
pub(crate) struct Loading<'a> {
    pub(crate) sources: Sources<'a>,
    pub(crate) file_name: &'a str,
    pub(crate) vars: &'a [String],
    pub(crate) tree: &'a Node,
}

/// The settings of tenants without an overlay, the overlays, and what of these has no effect.
pub(crate) fn load(
    config: &Config,
    loading: &Loading<'_>,
) -> Result<(TenantKeys, Overlays, Vec<String>), Vec<Finding>> {
    let base = subtree(loading.tree);
    let own = typed(&base).map_err(|finding| vec![finding])?;
    let mut reader = Reader { loading, base, ignored: BTreeMap::new(), by_path: HashMap::new() };
    let mut overlays = Overlays::default();
    for (index, network) in config.networks().iter().enumerate() {
        let Some(path) = &network.config_path else { continue };
        let position = match reader.by_path.get(path.as_str()) {
            Some(position) => *position,
            None => {
                overlays.files.push(reader.read(index, path));
                let position = overlays.files.len() - 1;
                reader.by_path.insert(path, position);
                position
            }
        };
        overlays.by_network.insert(network.id.0, position);
    }
    Ok((own, overlays, reader.warnings()))
}

struct Reader<'a> {
    loading: &'a Loading<'a>,
    base: Node,
    /// Settings without effect: the first file that has them, and how many do.
    ignored: BTreeMap<String, (String, usize)>,
    by_path: HashMap<&'a str, usize>,
}

impl Reader<'_> {
    fn read(&mut self, index: usize, written: &str) -> Overlay {
        let path = beside(self.loading.file_name, written);
        let settings = self.settings(index, &path);
        Overlay { path, settings }
    }

    fn settings(&mut self, index: usize, path: &FilePath) -> Result<TenantKeys, Vec<Problem>> {
        let name = path.display().to_string();
        let text =
            read_bounded(self.loading.sources.read_file, &name, OVERLAY_BYTES_MAX).map_err(|message| {
                let place = format!("multitenancy.networks[{index}].config_path");
                let origin = self.loading.tree.origin_near(&Path::parse(&place).unwrap_or_default());
                problems(
                    vec![Finding::new(origin, place, message)],
                    self.loading.file_name,
                    self.loading.vars,
                )
            })?;
        let over = self.sound(&text, &name).map_err(|found| problems(found, &name, &[]))?;
        let mut merged = self.base.clone();
        merge(&mut merged, over.clone());
        let keys = typed(&merged).map_err(|finding| problems(vec![finding], &name, &[]))?;
        // The base is sound by now: what is wrong with the two together is told of the overlay.
        let findings = cross::keys(&keys, &over);
        if findings.is_empty() { Ok(keys) } else { Err(problems(findings, &name, &[])) }
    }

    /// The overlay's tree, checked by the schema of the configuration, without what has no effect in it.
    fn sound(&mut self, text: &str, name: &str) -> Result<Node, Vec<Finding>> {
        let from_fault = |fault: parse::Fault| Finding::new(fault.origin, String::new(), fault.message);
        let (mut tree, duplicates) = parse::parse(text).map_err(|fault| vec![from_fault(fault)])?;
        let mut findings: Vec<Finding> = duplicates.into_iter().map(from_fault).collect();
        if tree.is_null() {
            tree = Node::empty_map(tree.origin);
        }
        self.strip(&mut tree, name);
        let sources = self.loading.sources;
        refs::expand(&mut tree, sources.env, &mut Path::default(), &mut findings);
        let read = |path: &str| read_bounded(sources.read_file, path, refs::SECRET_FILE_BYTES_MAX);
        refs::read_files(&mut tree, shape::config(), &read, &mut Path::default(), &mut findings);
        findings.extend(check::check(&tree, shape::config()).findings);
        if findings.is_empty() { Ok(tree) } else { Err(findings) }
    }

    /// Takes out the installation's own settings. An unknown key stays, for the check to find.
    fn strip(&mut self, tree: &mut Node, name: &str) {
        self.keep(tree, "", shape::config(), &OVERLAY_KEYS, name);
        let secrets = tree.entries_mut().and_then(|entries| entries.iter_mut().find(|e| e.key == "secrets"));
        if let (Some(entry), Some(shape)) = (secrets, shape::config().field("secrets")) {
            self.keep(&mut entry.node, "secrets.", shape, &OVERLAY_SECRETS, name);
        }
    }

    fn keep(&mut self, node: &mut Node, above: &str, shape: &shape::Shape, kept: &[&str], name: &str) {
        let Some(entries) = node.entries_mut() else { return };
        let ignored = &mut self.ignored;
        entries.retain(|entry| {
            let global = !kept.contains(&entry.key.as_str()) && shape.field(&entry.key).is_some();
            if global {
                let first = ignored.entry(format!("{above}{}", entry.key));
                first.or_insert_with(|| (name.to_owned(), 0)).1 += 1;
            }
            !global
        });
    }

    /// One warning per setting, however many overlays have it.
    fn warnings(self) -> Vec<String> {
        let told = |(key, (file, files)): (String, (String, usize))| {
            let others = if files > 1 { format!(" and {} more", files - 1) } else { String::new() };
            format!(
                "`{key}` is the same for every tenant: in a tenant's overlay ({file}{others}) it has no effect"
            )
        };
        self.ignored.into_iter().map(told).collect()
    }
}

/// A relative path counts from the folder of the configuration file.
fn beside(file_name: &str, written: &str) -> PathBuf {
    FilePath::new(file_name).parent().unwrap_or(FilePath::new("")).join(written)
}

/// The part of a tree that a tenant may have of its own.
fn subtree(tree: &Node) -> Node {
    let picked = |node: &Node, keys: &[&'static str]| {
        let held =
            keys.iter().filter_map(|key| Some((*key, node.get(key).filter(|n| !n.is_null())?.clone())));
        Node::map(held.collect(), node.origin)
    };
    let mut own = picked(tree, &OVERLAY_KEYS);
    let secrets = own.entries_mut().and_then(|entries| entries.iter_mut().find(|e| e.key == "secrets"));
    if let Some(entry) = secrets {
        entry.node = picked(&entry.node, &OVERLAY_SECRETS);
    }
    own
}

/// Lays one tree over another: mappings are merged, everything else replaces what it covers. An empty value says
/// nothing, and covers nothing.
fn merge(base: &mut Node, over: Node) {
    if over.is_null() {
        return;
    }
    let over = match (&mut base.content, over) {
        (Content::Map(_), Node { content: Content::Map(entries), .. }) => {
            for Entry { key, key_origin, node } in entries {
                if let Some(below) = base.child_mut(&key, key_origin) {
                    merge(below, node);
                }
            }
            return;
        }
        (Content::Map(_) | Content::List(_) | Content::Scalar(_), over) => over,
    };
    *base = over;
}

fn typed(tree: &Node) -> Result<TenantKeys, Finding> {
    serde::Deserialize::deserialize(tree).map_err(|misfit: Misfit| {
        Finding::new(misfit.origin.unwrap_or(Origin::Default), String::new(), misfit.message)
    })
}
