//! The environment as a layer: one table of aliases, `TALOS_<PATH>`, and `BULKHEAD_<SECTION>__<KEY>` for everything
//! else.

mod talos;

use std::collections::BTreeMap;

use crate::check::Finding;
use crate::path::Path;
use crate::problem::{Origin, nearest};
use crate::shape::{self, Kind, Shape};
use crate::yaml::node::{Content, Node};
use crate::yaml::parse;

const PREFIX: &str = "BULKHEAD_";
const NESTING: &str = "__";
/// Suffix of a variable that names a file holding the value.
const FILE_SUFFIX: &str = "_FILE";
/// Name of the admin key that the environment gives.
pub const ENV_ADMIN_NAME: &str = "environment";

/// What a variable sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One setting, by its keys from the root.
    Setting(&'static [&'static str]),
    /// One setting that takes a lower-case word.
    Word(&'static [&'static str]),
    /// `api_keys`: `key:tenant,key:tenant`.
    ApiKeys,
    /// One more entry of `admin_keys`.
    AdminKey,
    /// The address part of `server.listen`; ignored unless it is an IP address or `localhost`.
    ListenHost,
    /// The port part of `server.listen`.
    ListenPort,
}

/// Names of one thing, ours first. The first that is set counts.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// The variables. Where the target is a secret, each may also be given as `<NAME>_FILE`.
    pub vars: &'static [&'static str],
    /// What they set.
    pub target: Target,
}

/// Every variable that is not of the form `BULKHEAD_<SECTION>__<KEY>`.
pub const ALIASES: &[Alias] = &[
    setting(&["BULKHEAD_DATA_DIR", "TALON_DATA_DIR"], &["data_dir"]),
    Alias { vars: &["BULKHEAD_API_KEYS", "TALON_API_KEYS"], target: Target::ApiKeys },
    Alias { vars: &["BULKHEAD_ADMIN_KEY", "TALON_ADMIN_KEY", "ADMIN_API_KEY"], target: Target::AdminKey },
    setting(&["BULKHEAD_MASTER_KEY", "TALON_SECRETS_KEY"], &["secrets", "master_key"]),
    setting(&["BULKHEAD_EVIDENCE_KEY", "TALON_SIGNING_KEY"], &["secrets", "evidence_key"]),
    setting(&["BULKHEAD_SIGNING_KEY"], &["secrets", "signing_key"]),
    setting(&["BULKHEAD_DATABASE_URL", "DATABASE_URL"], &["store", "url"]),
    setting(&["DB_DSN"], &["db", "dsn"]),
    word(&["BULKHEAD_LOG_LEVEL", "TALON_LOG_LEVEL", "LOG_LEVEL"], &["log", "level"]),
    word(&["BULKHEAD_LOG_FORMAT", "TALON_LOG_FORMAT", "LOG_FORMAT"], &["log", "format"]),
    Alias { vars: &["HOST"], target: Target::ListenHost },
    Alias { vars: &["PORT"], target: Target::ListenPort },
    setting(&["OPENAI_API_KEY"], &["quickstart", "api_key"]),
    setting(
        &["BULKHEAD_QUICKSTART_OPENAI_BASE_URL", "TALON_QUICKSTART_OPENAI_BASE_URL", "OPENAI_BASE_URL"],
        &["quickstart", "openai_base_url"],
    ),
    word(&["BULKHEAD_QUICKSTART_MODE", "TALON_QUICKSTART_MODE"], &["quickstart", "mode"]),
    setting(
        &["BULKHEAD_QUICKSTART_ALLOW_ALL_MODELS", "TALON_QUICKSTART_ALLOW_ALL_MODELS"],
        &["quickstart", "allow_all_models"],
    ),
    setting(&["MULTI_TENANT_ENABLED"], &["multiTenant", "enabled"]),
    setting(&["TENANT_ID_HEADER"], &["multiTenant", "tenantIdHeader"]),
    setting(&["API_KEY_HEADER"], &["multiTenant", "apiKeyHeader"]),
    setting(&["VAULT_ADDR"], &["vault", "addr"]),
    setting(&["VAULT_TOKEN"], &["vault", "token"]),
    setting(&["VAULT_TENANT_PREFIX"], &["vault", "tenant_prefix"]),
    setting(&["REDIS_URL"], &["redis", "url"]),
    setting(&["REDIS_TENANT_PREFIX"], &["redis", "tenant_prefix"]),
    setting(&["RATE_LIMIT_ENABLED"], &["rate_limit", "enabled"]),
    word(&["RATE_LIMIT_STORE"], &["rate_limit", "backend"]),
    setting(&["TALON_DEFAULT_POLICY"], &["default_policy"]),
    setting(&["TALON_AGENTS_RELOAD_INTERVAL"], &["agents_reload_interval"]),
    setting(&["TALON_MAX_ATTACHMENT_MB"], &["max_attachment_mb"]),
    setting(&["TALON_OLLAMA_BASE_URL"], &["ollama_base_url"]),
];

const fn setting(vars: &'static [&'static str], keys: &'static [&'static str]) -> Alias {
    Alias { vars, target: Target::Setting(keys) }
}

const fn word(vars: &'static [&'static str], keys: &'static [&'static str]) -> Alias {
    Alias { vars, target: Target::Word(keys) }
}

/// One variable's say.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) path: Path,
    pub(crate) node: Node,
    /// Added to a list rather than put in place of it.
    pub(crate) appended: bool,
}

/// Everything the environment says, weakest first.
#[derive(Debug, Default)]
pub(crate) struct EnvLayer {
    pub(crate) settings: Vec<Setting>,
    /// The variables used; an [`Origin::Env`] is a position in this list.
    pub(crate) vars: Vec<String>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) warnings: Vec<String>,
}

/// Reads the environment against the tree that the file gave.
pub(crate) fn layer(
    env: &BTreeMap<String, String>,
    tree: &Node,
    read_file: &dyn Fn(&str) -> Result<String, String>,
) -> EnvLayer {
    let mut reader = Reader { env, tree, read_file, out: EnvLayer::default() };
    ALIASES.iter().for_each(|alias| reader.alias(alias));
    reader.out.warnings.extend(env.keys().filter_map(|var| misspelt(var)));
    reader.talos();
    // The precise form comes last, so that it wins over an alias.
    for (var, value) in env.iter().filter(|(var, value)| var.starts_with(PREFIX) && !value.is_empty()) {
        if var.contains(NESTING) {
            reader.precise(var, value);
        }
    }
    reader.out
}

/// A variable that is nearly one of ours. Others are left alone: an orchestrator may set `BULKHEAD_PORT_8080_TCP`.
fn misspelt(var: &str) -> Option<String> {
    let bare = var.strip_prefix(PREFIX).filter(|bare| !bare.contains(NESTING))?;
    let ours = || ALIASES.iter().flat_map(|alias| alias.vars).filter_map(|var| var.strip_prefix(PREFIX));
    let named = bare.strip_suffix(FILE_SUFFIX).unwrap_or(bare);
    if bare == "CONFIG" || ours().any(|known| known == named) {
        return None;
    }
    nearest(bare, ours()).map(|known| format!("{var} is not a known variable; did you mean {PREFIX}{known}?"))
}

struct Reader<'a> {
    env: &'a BTreeMap<String, String>,
    tree: &'a Node,
    read_file: &'a dyn Fn(&str) -> Result<String, String>,
    out: EnvLayer,
}

impl Reader<'_> {
    fn alias(&mut self, alias: &Alias) {
        let secret = match alias.target {
            Target::Setting(keys) | Target::Word(keys) => {
                shape::config().at(&Path::of_keys(keys)).is_some_and(Shape::is_secret)
            }
            Target::ApiKeys | Target::AdminKey => true,
            Target::ListenHost | Target::ListenPort => false,
        };
        let mut given = alias.vars.iter().filter_map(|var| self.lookup(var, secret));
        let Some((var, value)) = given.next() else { return };
        let value = match value {
            Ok(value) => value,
            Err(message) => {
                let origin = self.use_var(&var);
                return self.out.findings.push(Finding::new(origin, String::new(), message));
            }
        };
        let contradicted = given.find(|(_, other)| other.as_ref() != Ok(&value)).map(|(other, _)| other);
        if let Some(other) = contradicted {
            self.out.warnings.push(format!("{var} and {other} differ: {var} counts"));
        }
        let origin = self.use_var(&var);
        self.apply(alias.target, &value, origin);
    }

    /// A variable's value, or its file's. An empty variable is as good as none.
    fn lookup(&self, var: &str, secret: bool) -> Option<(String, Result<String, String>)> {
        if let Some(value) = self.env.get(var).filter(|value| !value.is_empty()) {
            return Some((var.to_owned(), Ok(value.clone())));
        }
        let file_var = format!("{var}{FILE_SUFFIX}");
        let path = self.env.get(&file_var).filter(|path| secret && !path.is_empty())?;
        Some((file_var, (self.read_file)(path)))
    }

    fn use_var(&mut self, var: &str) -> Origin {
        let position = u16::try_from(self.out.vars.len()).unwrap_or(u16::MAX);
        self.out.vars.push(var.to_owned());
        Origin::Env(position)
    }

    fn apply(&mut self, target: Target, value: &str, origin: Origin) {
        match target {
            Target::Setting(keys) => self.set(Path::of_keys(keys), Node::external(value, origin)),
            Target::Word(keys) => {
                self.set(Path::of_keys(keys), Node::external(&value.to_lowercase(), origin))
            }
            Target::ApiKeys => {
                for entry in api_keys(value, origin) {
                    self.append(&["api_keys"], entry);
                }
            }
            Target::AdminKey => {
                let name = Node::external(ENV_ADMIN_NAME, origin);
                let entry =
                    Node::map(vec![("name", name), ("key", Node::external(value.trim(), origin))], origin);
                self.append(&["admin_keys"], entry);
            }
            Target::ListenHost => self.listen_host(value, origin),
            Target::ListenPort => {
                let host = self
                    .listen()
                    .rsplit_once(':')
                    .map_or("127.0.0.1".to_owned(), |(host, _)| host.to_owned());
                self.set(
                    Path::of_keys(&["server", "listen"]),
                    Node::external(&format!("{host}:{value}"), origin),
                );
            }
        }
    }

    /// Some shells export the machine's name as `HOST`; that is no address to listen on.
    fn listen_host(&mut self, value: &str, origin: Origin) {
        let address = if value == "localhost" { "127.0.0.1" } else { value };
        if address.parse::<std::net::IpAddr>().is_err() {
            return self.out.warnings.push("HOST is not an IP address and was ignored".to_owned());
        }
        let port = self.listen().rsplit_once(':').map_or("8080".to_owned(), |(_, port)| port.to_owned());
        let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        self.set(
            Path::of_keys(&["server", "listen"]),
            Node::external(&format!("{bracketed}:{port}"), origin),
        );
    }

    /// `server.listen` as the layers so far have it.
    fn listen(&self) -> String {
        let path = Path::of_keys(&["server", "listen"]);
        let earlier =
            self.out.settings.iter().rev().find(|setting| setting.path == path).map(|setting| &setting.node);
        match earlier.or_else(|| self.tree.at(&path)).map(|node| &node.content) {
            Some(Content::Scalar(scalar)) => scalar.text.to_string(),
            Some(Content::List(_) | Content::Map(_)) | None => "127.0.0.1:8080".to_owned(),
        }
    }

    fn set(&mut self, path: Path, node: Node) {
        self.out.settings.push(Setting { path, node, appended: false });
    }

    fn append(&mut self, keys: &[&str], node: Node) {
        self.out.settings.push(Setting { path: Path::of_keys(keys), node, appended: true });
    }

    /// `TALOS_CREDENTIALS_API_KEYS_MAX_TTL`.
    fn talos(&mut self) {
        let given = self.env.iter().filter(|(_, value)| !value.is_empty());
        let named = given.filter_map(|(var, value)| Some((var, value, talos::resolve(var)?)));
        let mut found: Vec<_> = named.collect();
        found.sort_by_key(|(.., at)| {
            at.as_ref().map_or_else(|_| Vec::new(), |(path, _)| talos::positions(path))
        });
        for (var, value, at) in found {
            let origin = self.use_var(var);
            self.resolved(origin, at.and_then(|(path, shape)| Ok((path, value_node(value, shape, origin)?))));
        }
    }

    /// `BULKHEAD_GATEWAY__PROVIDERS__OPENAI__API_KEY`.
    fn precise(&mut self, var: &str, value: &str) {
        let origin = self.use_var(var);
        let segments: Vec<&str> = var.trim_start_matches(PREFIX).split(NESTING).collect();
        let found = resolve(&segments, self.tree);
        self.resolved(origin, found.and_then(|(path, shape)| Ok((path, value_node(value, shape, origin)?))));
    }

    fn resolved(&mut self, origin: Origin, found: Result<(Path, Node), Unresolved>) {
        match found {
            Ok((path, node)) => self.set(path, node),
            Err((message, suggestion)) => {
                self.out.findings.push(Finding { origin, path: String::new(), message, suggestion });
            }
        }
    }
}

/// Splits `key:tenant,key:tenant` (Talon dossier §3.1): at the first `:`; no `:` or no tenant means `default`.
fn api_keys(value: &str, origin: Origin) -> Vec<Node> {
    let entry = |text: &str| {
        let (key, tenant) = text.split_once(':').unwrap_or((text, ""));
        let mut fields = vec![("key", Node::external(key.trim(), origin))];
        if !tenant.trim().is_empty() {
            fields.push(("tenant_id", Node::external(tenant.trim(), origin)));
        }
        Node::map(fields, origin)
    };
    value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(entry).collect()
}

type Unresolved = (String, Option<String>);

/// Finds the setting that upper-case segments mean.
fn resolve(segments: &[&str], tree: &Node) -> Result<(Path, &'static Shape), Unresolved> {
    let mut path = Path::default();
    let mut shape = shape::config();
    for segment in segments {
        if let Ok(index) = segment.parse::<usize>() {
            shape = shape.element().ok_or_else(|| (format!("`{path}` is not a list"), None))?;
            path.index(index);
            continue;
        }
        let key = if shape.map_value().is_some() || matches!(shape.kind, Kind::Free) {
            existing_key(tree.at(&path), segment).unwrap_or_else(|| segment.to_lowercase())
        } else {
            let names = shape.names();
            let name = names.iter().find(|name| fold(name) == fold(segment)).map(|name| (*name).to_owned());
            name.ok_or_else(|| {
                (format!("`{segment}` is not a known key"), nearest(segment, names.into_iter()))
            })?
        };
        shape = shape.field(&key).ok_or_else(|| (format!("`{path}` has no keys"), None))?;
        path.key(&key);
    }
    Ok((path, shape))
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace(['_', '-', '.'], "")
}

/// `AZURE_OPENAI` finds the provider `azure-openai` that the file names.
fn existing_key(map: Option<&Node>, segment: &str) -> Option<String> {
    match &map?.content {
        Content::Map(entries) => {
            entries.iter().map(|entry| &entry.key).find(|key| fold(key) == fold(segment)).cloned()
        }
        Content::Scalar(_) | Content::List(_) => None,
    }
}

/// Text for a scalar; JSON, or a comma list, for a list; JSON for a mapping.
fn value_node(value: &str, shape: &Shape, origin: Origin) -> Result<Node, Unresolved> {
    let scalar_list = shape.element().is_some() && !value.trim_start().starts_with(['[', '{']);
    if scalar_list && !matches!(shape.kind, Kind::Free | Kind::Either(_)) {
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items = items.map(|item| Node::external(item, origin)).collect();
        return Ok(Node { content: Content::List(items), origin });
    }
    let container =
        shape.element().is_some() || !shape.names().is_empty() || matches!(shape.kind, Kind::Map(_));
    if container && value.trim_start().starts_with(['[', '{']) {
        let (mut node, _) = parse::parse(value).map_err(|_| ("not valid JSON".to_owned(), None))?;
        place(&mut node, origin);
        return Ok(node);
    }
    Ok(Node::external(value, origin))
}

fn place(node: &mut Node, origin: Origin) {
    node.origin = origin;
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| place(item, origin)),
        Content::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.key_origin = origin;
            place(&mut entry.node, origin);
        }),
    }
}
