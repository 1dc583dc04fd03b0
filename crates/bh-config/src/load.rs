//! Loading: defaults, under the file, under the environment; checked as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path as FilePath;

use crate::adopt;
use crate::check::{self, Finding};
use crate::cross;
use crate::env::{self, EnvLayer};
use crate::overlay;
use crate::path::Path;
use crate::prices::{self, Prices};
use crate::problem::{Origin, PROBLEMS_MAX, Problem};
use crate::refs;
use crate::schema::{Config, PriceFile, TenantKeys};
use crate::shape;
use crate::tenancy::{self, Loading, Overlays};
use crate::yaml::node::Node;
use crate::yaml::parse;
use crate::yaml::typed::Misfit;

/// What the name of the configuration is when there is no file.
const NO_FILE: &str = "configuration";

/// Reads a file that a setting names.
pub type ReadFile<'a> = dyn Fn(&FilePath) -> io::Result<String> + 'a;

/// One text with the name to report it by.
#[derive(Clone, Copy)]
pub struct SourceFile<'a> {
    /// Usually its path.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a str,
}

impl std::fmt::Debug for SourceFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Everything the configuration is made of. Nothing else is read: no file, no environment, no clock.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// `bulkhead.yaml`, if there is one.
    pub file: Option<SourceFile<'a>>,
    /// The process's environment.
    pub env: &'a BTreeMap<String, String>,
    /// Reads the files that `*_file` settings, `*_FILE` variables and `pricing.file` name.
    pub read_file: &'a ReadFile<'a>,
}

impl std::fmt::Debug for Sources<'_> {
    /// The texts and variables hold secrets, so only the file is named.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("file", &self.file.map(|file| file.name)).finish_non_exhaustive()
    }
}

/// A setting that belongs to a part which a later release implements.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Inactive {
    /// The setting, at its first place.
    pub path: String,
    /// The file or variable that gives it.
    pub source: String,
    /// Line from 1; 0 for a variable.
    pub line: u32,
    /// The part it comes with.
    pub comes_with: &'static str,
    /// How often it is given, list elements counted one by one.
    pub times: usize,
}

/// A configuration that holds.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, every layer applied.
    pub config: Config,
    /// Prices: the built-in table, the file of `pricing.file`, and what stands under `pricing`.
    pub prices: Prices,
    /// Settings of the key API for tenants without an overlay.
    pub keys: Box<TenantKeys>,
    /// Settings of the key API for the others.
    pub overlays: Overlays,
    /// Where each value came from. Only `explain` needs it; a server lets go of it ([`Loaded::without_origins`]).
    pub origins: Origins,
    /// Whether the file or the environment gives callers default caps, be they those that are built in.
    pub default_caps_written: bool,
    /// What is accepted but not active yet.
    pub inactive: Vec<Inactive>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Lets go of what only `explain` needs: with many tenants it is larger than all the rest.
    #[must_use]
    pub fn without_origins(self) -> Self {
        let Origins { file, vars, .. } = self.origins;
        let origins = Origins { tree: Node::empty_map(Origin::Default), covered: Vec::new(), file, vars };
        Self { origins, ..self }
    }
}

/// Where each value came from.
pub struct Origins {
    pub(crate) tree: Node,
    pub(crate) covered: Vec<(Path, Node)>,
    pub(crate) file: String,
    pub(crate) vars: Vec<String>,
}

impl std::fmt::Debug for Origins {
    /// The tree holds secrets in clear, so only its sources are named.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origins").field("file", &self.file).field("vars", &self.vars).finish_non_exhaustive()
    }
}

impl Origins {
    /// Whether the file or a variable gives this setting: keys from the top, none of them in a list.
    fn wrote(&self, keys: &[&str]) -> bool {
        self.tree.at(&Path::of_keys(keys)).is_some_and(|node| !node.is_null())
    }

    /// The name of the file or variable behind an origin.
    pub(crate) fn source(&self, origin: Origin) -> String {
        name_source(origin, &self.file, &self.vars)
    }
}

fn name_source(origin: Origin, file: &str, vars: &[String]) -> String {
    match origin {
        Origin::Env(position) => vars.get(usize::from(position)).cloned().unwrap_or_default(),
        Origin::File { .. } | Origin::Default => file.to_owned(),
    }
}

/// Loads a configuration.
///
/// # Errors
/// Every problem found, up to [`PROBLEMS_MAX`], in the order of the file. Problems between settings are looked for
/// once each setting is sound by itself, and those in tenants' overlays once the configuration is.
pub fn load(sources: Sources<'_>) -> Result<Loaded, Vec<Problem>> {
    let loaded = reload(sources)?;
    let problems = loaded.overlays.problems();
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// Loads a configuration while an earlier one is in force: a bad overlay is left for the caller to see, so that it
/// costs the others nothing.
///
/// # Errors
/// As [`load`], but for overlays.
pub fn reload(sources: Sources<'_>) -> Result<Loaded, Vec<Problem>> {
    let file_name = sources.file.map_or(NO_FILE, |file| file.name);
    let read = |path: &str| read_bounded(sources.read_file, path, refs::SECRET_FILE_BYTES_MAX);
    let read_prices = |path: &str| read_bounded(sources.read_file, path, parse::FILE_BYTES_MAX);
    let mut findings = Vec::new();
    let mut tree =
        parse_file(sources.file, &mut findings).map_err(|finding| problems(vec![finding], file_name, &[]))?;
    findings.extend(overlay::rename_keys(&mut tree));
    refs::expand(&mut tree, sources.env, &mut Path::default(), &mut findings);
    let EnvLayer { settings, vars, findings: env_findings, mut warnings } =
        env::layer(sources.env, &tree, &read);
    findings.extend(env_findings);
    let mut covered = Vec::new();
    for setting in settings {
        let path = setting.path.clone();
        match overlay::overlay(&mut tree, setting) {
            Ok(below) => covered.extend(below.map(|node| (path, node))),
            Err(finding) => findings.push(finding),
        }
    }
    refs::read_files(&mut tree, shape::config(), &read, &mut Path::default(), &mut findings);
    findings.extend(adopt::adopt(&mut tree));
    let checked = check::check(&tree, shape::config());
    findings.extend(checked.findings);
    let config = sound_config(&tree, findings).map_err(|found| problems(found, file_name, &vars))?;
    let prices = load_prices(&config, &tree, &read_prices)
        .map_err(|found| problems_of_prices(found, file_name, &vars, &config))?;
    warnings.extend(cross::warnings(&config));
    let loading = Loading { sources, file_name, vars: &vars, tree: &tree };
    let (keys, overlays, ignored) =
        tenancy::load(&config, &loading).map_err(|found| problems(found, file_name, &vars))?;
    warnings.extend(ignored);
    let origins = Origins { tree, covered, file: file_name.to_owned(), vars };
    let inactive = checked.sleepers.into_values().map(|sleeper| Inactive {
        source: origins.source(sleeper.origin),
        line: line_of(sleeper.origin),
        path: sleeper.path,
        comes_with: sleeper.comes_with,
        times: sleeper.times,
    });
    let caps = ["max_daily_cost", "max_monthly_cost", "max_session_cost"];
    let default_caps_written = caps.into_iter().any(|cap| origins.wrote(&["gateway", "default_policy", cap]));
    Ok(Loaded {
        inactive: inactive.collect(),
        config,
        prices,
        keys: Box::new(keys),
        overlays,
        origins,
        default_caps_written,
        warnings,
    })
}

fn parse_file(file: Option<SourceFile<'_>>, findings: &mut Vec<Finding>) -> Result<Node, Finding> {
    let Some(file) = file else { return Ok(Node::empty_map(Origin::Default)) };
    let from_fault = |fault: parse::Fault| Finding::new(fault.origin, String::new(), fault.message);
    let (tree, duplicates) = parse::parse(file.text).map_err(from_fault)?;
    findings.extend(duplicates.into_iter().map(from_fault));
    // A file of nothing but comments says nothing, and is no mistake.
    Ok(if tree.is_null() { Node::empty_map(tree.origin) } else { tree })
}

/// Settings sound by themselves, then typed, then sound together.
fn sound_config(tree: &Node, findings: Vec<Finding>) -> Result<Config, Vec<Finding>> {
    if !findings.is_empty() {
        return Err(findings);
    }
    let config: Config = serde::Deserialize::deserialize(tree).map_err(|misfit: Misfit| {
        vec![Finding::new(misfit.origin.unwrap_or_default(), String::new(), misfit.message)]
    })?;
    let crossed = cross::check(&config, tree);
    if crossed.is_empty() { Ok(config) } else { Err(crossed) }
}

enum PriceFault {
    InConfig(Vec<Finding>),
    InFile(Vec<Finding>),
}

fn load_prices(
    config: &Config,
    tree: &Node,
    read: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Prices, PriceFault> {
    let pricing = &config.pricing;
    let at_file = || tree.origin_near(&Path::of_keys(&["pricing", "file"]));
    let mut file: Option<PriceFile> = None;
    if let Some(name) = &pricing.file {
        let in_config =
            |message| PriceFault::InConfig(vec![Finding::new(at_file(), "pricing.file".to_owned(), message)]);
        let text = read(name).map_err(in_config)?;
        let table = prices::read(&text).map_err(PriceFault::InFile)?;
        if table.currency.as_ref().is_some_and(|currency| *currency != pricing.currency) {
            return Err(in_config(format!(
                "its currency is not `{}`: amounts are never converted",
                pricing.currency
            )));
        }
        file = Some(table);
    }
    prices::assemble(pricing, file).map_err(|found| {
        let placed = |finding: Finding| {
            let path = Path::parse(&finding.path).unwrap_or_default();
            Finding { origin: tree.origin_near(&path), ..finding }
        };
        PriceFault::InConfig(found.into_iter().map(placed).collect())
    })
}

fn problems_of_prices(fault: PriceFault, file: &str, vars: &[String], config: &Config) -> Vec<Problem> {
    match fault {
        PriceFault::InConfig(findings) => problems(findings, file, vars),
        PriceFault::InFile(findings) => {
            problems(findings, config.pricing.file.as_deref().unwrap_or(file), &[])
        }
    }
}

pub(crate) fn problems(mut findings: Vec<Finding>, file: &str, vars: &[String]) -> Vec<Problem> {
    findings.sort_by_key(|finding| match finding.origin {
        Origin::File { line, column } => (0, line, column),
        Origin::Env(position) => (1, u32::from(position), 0),
        Origin::Default => (2, 0, 0),
    });
    let more = findings.len().saturating_sub(PROBLEMS_MAX);
    findings.truncate(PROBLEMS_MAX);
    let source = |origin| name_source(origin, file, vars);
    let mut problems: Vec<Problem> =
        findings.into_iter().map(|finding| finding.into_problem(&source)).collect();
    if more > 0 {
        let rest = Finding::new(Origin::Default, String::new(), format!("and {more} more problems"));
        problems.push(rest.into_problem(&source));
    }
    problems
}

pub(crate) fn line_of(origin: Origin) -> u32 {
    match origin {
        Origin::File { line, .. } => line,
        Origin::Env(_) | Origin::Default => 0,
    }
}

/// A file's text without the newline that editors add. What it holds never gets into the message.
pub(crate) fn read_bounded(read_file: &ReadFile<'_>, path: &str, bytes_max: usize) -> Result<String, String> {
    let text = read_file(FilePath::new(path)).map_err(|error| format!("can't read `{path}`: {error}"))?;
    if text.len() > bytes_max {
        return Err(format!("`{path}` is too large"));
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
