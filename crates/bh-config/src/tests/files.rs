//! The files that are made from the types: the default file and the JSON Schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::loaded;
use crate::check::check;
use crate::path::Path;
use crate::shape::{self, every_key};
use crate::yaml::node::{Content, Node};
use crate::yaml::parse::parse;
use crate::{default_yaml, json_schema};

/// Set to rewrite the checked-in files instead of comparing them.
const BLESS: &str = "BLESS";

fn golden(path: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{} is stale: run the tests once with {BLESS}=1", path.display());
}

/// The default file with every setting put in force.
fn uncommented() -> String {
    let put_in_force = |line: &str| {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some(rest) = code.strip_prefix('#') else { return line.to_owned() };
        let spaces = rest.len() - rest.trim_start().len();
        if rest.is_empty() || spaces % 2 == 1 {
            line.to_owned()
        } else {
            format!("{}{rest}", " ".repeat(indent))
        }
    };
    default_yaml().lines().map(put_in_force).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_default_file_is_what_the_types_say() {
    golden("src/bulkhead.default.yaml", &crate::default_file::rendered());
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    let text = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    golden("../../docs/config.schema.json", &text);
}

#[test]
fn the_default_file_loads_and_changes_nothing() {
    let from_file = loaded(default_yaml());
    assert_eq!(from_file.show(), loaded("").show());
    assert_eq!((from_file.inactive, from_file.warnings), (Vec::new(), Vec::new()));
}

#[test]
fn the_default_file_with_every_setting_in_force_has_no_unknown_key_and_no_wrong_type() {
    let text = uncommented();
    let (mut tree, duplicates) = parse(&text).unwrap_or_else(|fault| panic!("{fault:?}\n{text}"));
    assert!(duplicates.is_empty(), "{duplicates:?}");
    let names = text.split("${env:").skip(1).filter_map(|rest| rest.split('}').next());
    let env: BTreeMap<String, String> = names.map(|name| (name.to_owned(), "x".repeat(40))).collect();
    let mut findings = Vec::new();
    crate::refs::expand(&mut tree, &env, &mut Path::default(), &mut findings);
    findings.extend(check(&tree, shape::config()).findings);
    let wrong: Vec<_> =
        findings.iter().map(|f| format!("{:?} {}: {}", f.origin, f.path, f.message)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_occurs_in_the_default_file() {
    let (tree, _) = parse(&uncommented()).unwrap();
    let missing: Vec<_> = every_key().into_keys().filter(|key| !occurs(&tree, key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn occurs(node: &Node, pattern: &str) -> bool {
    let mut at = vec![node];
    for step in pattern.replace("[]", ".[]").split('.') {
        at = at.into_iter().flat_map(|node| children(node, step)).collect();
    }
    !at.is_empty()
}

fn children<'n>(node: &'n Node, step: &str) -> Vec<&'n Node> {
    match (&node.content, step) {
        (Content::List(items), "[]") => items.iter().collect(),
        (Content::Map(entries), "*") => entries.iter().map(|entry| &entry.node).collect(),
        (Content::Map(_), key) => node.get(key).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_guide_names_every_variable_and_every_older_key() {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md")).unwrap();
    let vars = crate::ALIASES.iter().flat_map(|alias| alias.vars).map(|var| format!("`{var}`"));
    let keys = crate::KEY_ALIASES.iter().map(|(old, _)| format!("`{}`", old.join(".")));
    let missing: Vec<_> = vars.chain(keys).filter(|name| !guide.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
