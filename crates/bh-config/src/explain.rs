//! Why a setting has its value: the effective one, and what every layer says.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::load::{Loaded, Origins, line_of};
use crate::path::{Path, Step};
use crate::problem::{Origin, nearest};
use crate::schema::Config;
use crate::secret::{MASK, mask_url};
use crate::shape::{self, Kind, Shape};
use crate::yaml::node::{Content, Node};
use crate::yaml::write;

/// Settings of a tenant, and the server's setting that holds when the tenant has none.
pub const TENANT_BASES: &[(&str, &str)] = &[
    ("timezone", "budgets.timezone"),
    ("rate_limits.requests_per_minute", "gateway.rate_limits.per_tenant_requests_per_min"),
    ("evidence.durability", "evidence.durability"),
];

/// Which layer spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Built in.
    Default,
    /// The file.
    File,
    /// The environment.
    Environment,
    /// The tenant's own entry.
    Tenant,
}

/// What one layer says. The last of a list of says counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Say {
    /// Who.
    pub layer: Layer,
    /// `bulkhead.yaml:12`, a variable's name, or `built in`.
    pub place: String,
    /// The value as one line of YAML, secrets masked.
    pub value: String,
}

/// Why a setting has its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The setting.
    pub path: String,
    /// What it means.
    pub meaning: String,
    /// The effective value as YAML, secrets masked; `null` when nothing says.
    pub value: String,
    /// What every layer says, weakest first.
    pub layers: Vec<Say>,
    /// The part it comes with, when it is not active yet.
    pub comes_with: Option<String>,
}

/// A path that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnknownSetting {
    /// What is wrong with it, with a suggestion when there is one.
    pub message: String,
}

impl Loaded {
    /// Explains one setting, for one tenant if given.
    ///
    /// # Errors
    /// [`UnknownSetting`] when the path leads to no setting.
    pub fn explain(&self, path: &str, tenant: Option<&str>) -> Result<Explanation, UnknownSetting> {
        let Some(tenant) = tenant else { return self.explain_path(&parsed(path)?) };
        let base = TENANT_BASES.iter().find(|(own, base)| *own == path || *base == path);
        let own = parsed(base.map_or(path, |(own, _)| *own))?;
        let index = self.config.tenants.iter().position(|entry| entry.id.0.as_str() == tenant);
        let entry = index.map(|index| {
            let mut full = Path::of_keys(&["tenants"]);
            full.index(index);
            full.0.extend(own.0.iter().cloned());
            full
        });
        let entry = entry.and_then(|full| self.explain_path(&full).ok());
        let below =
            base.map(|(_, base)| parsed(base).and_then(|base| self.explain_path(&base))).transpose()?;
        match (below, entry) {
            (Some(below), Some(entry)) => Ok(joined(below, entry)),
            (None, Some(entry)) => Ok(as_tenant(entry)),
            (Some(below), None) => Ok(below),
            (None, None) => self.explain_path(&parsed(path)?),
        }
    }

    fn explain_path(&self, path: &Path) -> Result<Explanation, UnknownSetting> {
        let shape = known(path)?;
        let value = pointed(&effective(&self.config), path).cloned().unwrap_or(Value::Null);
        let mut layers = Vec::new();
        let built_in = default_value(path);
        if !built_in.is_null() {
            layers.push(Say {
                layer: Layer::Default,
                place: "built in".to_owned(),
                value: write::inline(&built_in),
            });
        }
        let covered = self.origins.covered.iter().filter(|(at, _)| at == path).map(|(_, node)| node);
        let spoken = covered.chain(self.origins.tree.at(path)).filter(|node| node.origin != Origin::Default);
        layers.extend(spoken.map(|node| say(node, shape, &self.origins)));
        Ok(Explanation {
            path: path.to_string(),
            meaning: shape.doc.replace('\n', " "),
            value: write::inline(&value),
            layers,
            comes_with: asleep_with(path),
        })
    }

    /// The whole configuration as YAML, every layer applied, secrets masked.
    #[must_use]
    pub fn show(&self) -> String {
        write::document(&effective(&self.config))
    }

    /// The same as one line of JSON, piece by piece: with ten thousand tenants the text and its tree take ten times the
    /// memory of the settings, which is too much for who only wants its digest.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(out, &self.config).map_err(io::Error::from)
    }
}

fn parsed(path: &str) -> Result<Path, UnknownSetting> {
    Path::parse(path).map_err(|message| UnknownSetting { message: format!("`{path}`: {message}") })
}

fn known(path: &Path) -> Result<&'static Shape, UnknownSetting> {
    let mut shape = shape::config();
    let mut at = Path::default();
    for step in &path.0 {
        let next = match step {
            Step::Key(key) => shape.field(key),
            Step::Index(_) => shape.element(),
        };
        shape = next.ok_or_else(|| {
            let hint = match step {
                Step::Key(key) => nearest(key, shape.names().into_iter()),
                Step::Index(_) => None,
            };
            let hint = hint.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
            UnknownSetting { message: format!("there is no setting `{path}`{hint}") }
        })?;
        at.0.push(step.clone());
    }
    Ok(shape)
}

/// The configuration as JSON; secrets serialise as their mask.
fn effective(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or(Value::Null)
}

fn pointed<'v>(value: &'v Value, path: &Path) -> Option<&'v Value> {
    path.0.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

/// What holds when no layer says anything: a fixed key's default, or its type's inside a map or list.
fn default_value(path: &Path) -> Value {
    let built_in = effective(&Config::default());
    if let Some(value) = pointed(&built_in, path) {
        return value.clone();
    }
    shape::config().at(path).and_then(|shape| shape.default.clone()).unwrap_or(Value::Null)
}

/// A part that is not active yet makes everything inside it so.
fn asleep_with(path: &Path) -> Option<String> {
    (1..=path.0.len()).find_map(|length| {
        let prefix = Path(path.0.iter().take(length).cloned().collect());
        shape::config().at(&prefix).and_then(|shape| shape.comes_with.clone())
    })
}

fn say(node: &Node, shape: &Shape, origins: &Origins) -> Say {
    let source = origins.source(node.origin);
    let layer = match node.origin {
        Origin::Env(_) => Layer::Environment,
        Origin::File { .. } | Origin::Default => Layer::File,
    };
    let place = match line_of(node.origin) {
        0 => source,
        line => format!("{source}:{line}"),
    };
    Say { layer, place, value: write::inline(&shown(node, shape)) }
}

/// A tree as JSON with its secrets masked.
fn shown(node: &Node, shape: &Shape) -> Value {
    if node.is_null() {
        return Value::Null;
    }
    if let (Content::Scalar(scalar), true) = (&node.content, shape.is_secret()) {
        return match shape.format() {
            Some("secret-url") => Value::String(mask_url(&scalar.text)),
            _ => Value::String(MASK.to_owned()),
        };
    }
    match &node.content {
        Content::Scalar(_) => Value::deserialize(node).unwrap_or(Value::Null),
        Content::List(items) => {
            let element = |item| shape.element().map_or(Value::Null, |shape| shown(item, shape));
            Value::Array(items.iter().map(element).collect())
        }
        Content::Map(entries) => {
            let field = |key: &str, node| match (shape.field(key), &shape.kind) {
                (Some(field), _) => shown(node, field),
                (None, Kind::Free) => Value::deserialize(node).unwrap_or(Value::Null),
                (None, _) => Value::Null,
            };
            Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), field(&entry.key, &entry.node))).collect(),
            )
        }
    }
}

fn joined(base: Explanation, own: Explanation) -> Explanation {
    let own = as_tenant(own);
    let spoken = own.layers.is_empty();
    let value = if spoken { base.value } else { own.value };
    let layers = base.layers.into_iter().chain(own.layers).collect();
    Explanation { value, layers, ..own }
}

fn as_tenant(own: Explanation) -> Explanation {
    let layers = own.layers.into_iter().map(|say| match say.layer {
        Layer::File | Layer::Environment | Layer::Tenant => Say { layer: Layer::Tenant, ..say },
        Layer::Default => say,
    });
    Explanation { layers: layers.collect(), ..own }
}
