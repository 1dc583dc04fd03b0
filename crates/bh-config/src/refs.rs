//! `${env:NAME}` and `${NAME}` inside values, and settings whose value lies in a file of its own.

use std::collections::BTreeMap;

use crate::check::Finding;
use crate::path::Path;
use crate::shape::{Kind, Shape};
use crate::yaml::node::{Content, Entry, Node, Scalar, Style};

/// The largest file a `*_file` setting may name; a list of ten thousand API keys fits.
pub(crate) const SECRET_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Replaces every reference in the tree. `$${` stands for a literal `${`.
pub(crate) fn expand(
    node: &mut Node,
    env: &BTreeMap<String, String>,
    path: &mut Path,
    findings: &mut Vec<Finding>,
) {
    match &mut node.content {
        Content::Scalar(scalar) => {
            if !scalar.text.contains("${") {
                return;
            }
            match expanded(&scalar.text, env) {
                Ok((text, referred)) => {
                    let style = if referred { Style::External } else { scalar.style };
                    *scalar = Scalar { text: text.into(), style };
                }
                Err(message) => findings.push(Finding::new(node.origin, path.to_string(), message)),
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.index(index);
                expand(item, env, path, findings);
                path.pop();
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                path.key(&entry.key);
                expand(&mut entry.node, env, path, findings);
                path.pop();
            }
        }
    }
}

/// The text with its references replaced, and whether there was any.
fn expanded(text: &str, env: &BTreeMap<String, String>) -> Result<(String, bool), String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut referred = false;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        let body = reference.get(2..).unwrap_or_default();
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = body;
            continue;
        }
        out.push_str(before);
        let (name, tail) =
            body.split_once('}').ok_or("a `${` is not closed; write `$${` for a literal one")?;
        let name = name.strip_prefix("env:").unwrap_or(name);
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("expected `${env:NAME}`; write `$${` for a literal `${`".to_owned());
        }
        let value = env.get(name).filter(|value| !value.is_empty());
        out.push_str(value.ok_or_else(|| format!("the environment variable {name} is not set"))?);
        referred = true;
        rest = tail;
    }
    out.push_str(rest);
    Ok((out, referred))
}

/// Fills every secret whose `<name>_file` sibling is given with what that file holds.
pub(crate) fn read_files(
    node: &mut Node,
    shape: &'static Shape,
    read: &dyn Fn(&str) -> Result<String, String>,
    path: &mut Path,
    findings: &mut Vec<Finding>,
) {
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => {
            let Some(element) = shape.element() else { return };
            for (index, item) in items.iter_mut().enumerate() {
                path.index(index);
                read_files(item, element, read, path, findings);
                path.pop();
            }
        }
        Content::Map(entries) => {
            if let Kind::Object { fields, .. } = &shape.kind {
                fields.iter().for_each(|(name, field)| read_one(entries, name, field, read, path, findings));
            }
            for entry in entries {
                let Some(field) = shape.field(&entry.key) else { continue };
                path.key(&entry.key);
                read_files(&mut entry.node, field, read, path, findings);
                path.pop();
            }
        }
    }
}

fn read_one(
    entries: &mut Vec<Entry>,
    name: &str,
    field: &Shape,
    read: &dyn Fn(&str) -> Result<String, String>,
    path: &Path,
    findings: &mut Vec<Finding>,
) {
    let file_key = format!("{name}_file");
    let Some(file) = entries.iter().find(|entry| entry.key == file_key && field.is_secret()) else { return };
    let Content::Scalar(Scalar { text, .. }) = &file.node.content else { return };
    let origin = file.node.origin;
    let mut at = path.clone();
    at.key(&file_key);
    if file.node.is_null() {
        return;
    }
    if entries.iter().any(|entry| entry.key == name && !entry.node.is_null()) {
        let message = format!("`{name}` is given too: keep one of the two");
        return findings.push(Finding::new(origin, at.to_string(), message));
    }
    match read(text) {
        Ok(value) => entries.push(Entry {
            key: name.to_owned(),
            key_origin: origin,
            node: Node::external(&value, origin),
        }),
        Err(message) => findings.push(Finding::new(origin, at.to_string(), message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_a_doubled_dollar_is_literal() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B_2".to_owned(), "${A}".to_owned())]);
        let cases = [
            ("${env:A}", "1", true),
            ("x${A}y${env:A}", "x1y1", true),
            ("$${A}", "${A}", false),
            ("$A", "$A", false),
        ];
        for (text, value, referred) in cases {
            assert_eq!(expanded(text, &env), Ok((value.to_owned(), referred)), "{text}");
        }
        // A value is never read again, so a variable can't smuggle in a reference.
        assert_eq!(expanded("${B_2}", &env), Ok(("${A}".to_owned(), true)));
        assert_eq!(expanded("${env:NO}", &env), Err("the environment variable NO is not set".to_owned()));
        for bad in ["${", "${A", "${a-b}", "${}", "${env:}"] {
            assert!(expanded(bad, &env).is_err(), "{bad}");
        }
    }
}
