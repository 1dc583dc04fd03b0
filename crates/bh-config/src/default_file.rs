//! The default file: every key with its meaning, made from the shape.
//!
//! A commented-out line is `#` with the line behind it, so deleting the `#` puts the setting in force; prose is `# `
//! with one space. The file is checked in, compiled in, and compared with its maker by a test.

use serde_json::Value;

use crate::shape;
#[cfg(test)]
use crate::shape::{Kind, Shape};

/// The commented default file, as `bulkhead config default` prints it.
#[must_use]
pub fn default_yaml() -> &'static str {
    include_str!("bulkhead.default.yaml")
}

/// The JSON Schema of the configuration file, for editors and other tools.
#[must_use]
pub fn json_schema() -> Value {
    shape::config_schema().clone()
}

#[cfg(test)]
const HEADER: &str = "\
# Bulkhead's configuration: every key, its meaning and its default.
#
# A line that begins with `#` and no space is a setting that is not in force: delete the `#` to use it.
# `${env:NAME}` stands for an environment variable, `<secret>_file` for a file that holds the secret.
# Durations are written 250ms, 10s, 1m30s; money is a decimal number in `pricing.currency`.
";

/// Width of the comment column.
#[cfg(test)]
const WIDTH: usize = 112;

/// Makes the default file from the shape of the configuration.
#[cfg(test)]
pub(crate) fn rendered() -> String {
    let mut writer = Writer { out: HEADER.to_owned() };
    for (name, field) in shape::config().fields().unwrap_or_default() {
        writer.out.push('\n');
        writer.field(name, field, None, &Place { indent: 0, commented_at: None, dash: false });
    }
    writer.out
}

#[cfg(test)]
#[derive(Clone, Copy)]
struct Place {
    indent: usize,
    /// The column at which a `#` takes the settings out of force.
    commented_at: Option<usize>,
    /// The next key opens a list element.
    dash: bool,
}

#[cfg(test)]
struct Writer {
    out: String,
}

#[cfg(test)]
impl Writer {
    /// `outer` is the default of the mapping around, for fields that have none of their own.
    fn field(&mut self, name: &str, shape: &Shape, outer: Option<&Value>, place: &Place) {
        self.prose(shape, place);
        let outer = outer.and_then(|value| value.get(name));
        let built_in = shape.default.as_ref().or(outer).filter(|value| !value.is_null());
        let objects = shape.element().is_some_and(|element| element.fields().is_some());
        let in_force = if shape.fields().is_some() {
            !shape.nullable
        } else {
            built_in.is_some() && !objects && shape.map_value().is_none()
        };
        let asleep = shape.comes_with.is_some() || !in_force;
        let commented_at = place.commented_at.or(asleep.then_some(place.indent));
        let place = Place { commented_at, ..*place };
        let inner = Place { indent: place.indent + 2, dash: false, ..place };
        if let Some(fields) = shape.fields().filter(|_| shape.element().is_none()) {
            self.key(name, "", &place);
            self.fields(fields, built_in, &inner);
        } else if let Some(value) = shape.map_value().filter(|_| shape.example.is_none()) {
            self.key(name, "", &place);
            self.map_entry(name, value, &inner);
        } else if let Some(fields) = shape.element().and_then(Shape::fields) {
            self.key(name, "", &place);
            self.fields(fields, None, &Place { indent: place.indent + 4, dash: true, ..place });
        } else {
            let value = match built_in.filter(|_| commented_at.is_none()) {
                Some(value) => written(shape, value),
                None => sample(name, shape, built_in),
            };
            self.key(name, &value, &place);
        }
    }

    fn fields(&mut self, fields: &[(String, Shape)], outer: Option<&Value>, place: &Place) {
        let mut place = *place;
        for (name, field) in fields {
            self.field(name, field, outer, &place);
            place.dash = false;
        }
    }

    fn map_entry(&mut self, name: &str, value: &Shape, place: &Place) {
        let key = match name {
            "providers" => "openai",
            "models" => "gpt-4o-mini",
            "ttl_by_tier" => "public",
            _ => "name",
        };
        match value.fields() {
            Some(fields) => {
                self.key(key, "", place);
                self.fields(fields, None, &Place { indent: place.indent + 2, ..*place });
            }
            None => self.key(key, &sample(key, value, None), place),
        }
    }

    fn prose(&mut self, shape: &Shape, place: &Place) {
        let mut text = shape.doc.replace('\n', " ");
        if let Kind::Word(words) = &shape.kind {
            text.push_str(&format!(" One of: {}.", words.join(", ")));
        }
        if let Kind::Integer { min, max } = &shape.kind
            && *min > 0
            && *max < i64::from(u32::MAX)
        {
            text.push_str(&format!(" {min} to {max}."));
        }
        if let Some(part) = &shape.comes_with {
            text.push_str(&format!(" Accepted, not active yet: comes with {part}."));
        }
        let mut line = String::new();
        for word in text.split_whitespace() {
            if place.indent + line.len() + word.len() + 3 > WIDTH {
                self.line(&format!("# {line}"), place);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("# {line}"), place);
    }

    fn key(&mut self, name: &str, value: &str, place: &Place) {
        let space = if value.is_empty() { "" } else { " " };
        if place.dash {
            let place = Place { indent: place.indent - 2, ..*place };
            self.line(&format!("- {name}:{space}{value}"), &place);
        } else {
            self.line(&format!("{name}:{space}{value}"), place);
        }
    }

    fn line(&mut self, text: &str, place: &Place) {
        let line = match place.commented_at {
            None => format!("{:1$}{text}", "", place.indent),
            Some(column) => format!("{:1$}#{2:3$}{text}", "", column, "", place.indent - column),
        };
        self.out.push_str(&line);
        self.out.push('\n');
    }
}

/// A default as YAML; money as a bare number.
#[cfg(test)]
fn written(shape: &Shape, value: &Value) -> String {
    match (shape.format(), value.as_str()) {
        (Some("decimal"), Some(amount)) => amount.to_owned(),
        _ => crate::yaml::write::inline(value),
    }
}

/// For a setting that is not in force: its default if that says something, else its example, else the right form.
#[cfg(test)]
fn sample(name: &str, shape: &Shape, built_in: Option<&Value>) -> String {
    let empty = |value: &Value| {
        value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    if let Some(value) = built_in.filter(|value| !empty(value)).or(shape.example.as_ref()) {
        return written(shape, value);
    }
    match &shape.kind {
        Kind::Text(_) => sample_text(name, shape),
        Kind::Word(words) => words.first().cloned().unwrap_or_default(),
        Kind::Bool => "false".to_owned(),
        Kind::Integer { min, .. } => (*min).max(1).to_string(),
        Kind::Number { .. } => "0.5".to_owned(),
        Kind::List(_) => "[]".to_owned(),
        Kind::Object { .. } | Kind::Map(_) | Kind::Either(_) | Kind::Free => "{}".to_owned(),
    }
}

#[cfg(test)]
fn sample_text(name: &str, shape: &Shape) -> String {
    if let Some(secret) = name.strip_suffix("_file") {
        return format!("/run/secrets/{secret}");
    }
    match shape.format() {
        Some("secret") => format!("\"${{env:{}}}\"", name.to_uppercase()),
        Some("secret-url") => "\"postgres://user:${env:DB_PASSWORD}@host/database\"".to_owned(),
        Some("go-duration") => "30s".to_owned(),
        Some("decimal") => "10.00".to_owned(),
        Some("http-url") => "\"https://example.com\"".to_owned(),
        Some("socket-address") => "\"127.0.0.1:9090\"".to_owned(),
        Some("tenant-id") => "acme".to_owned(),
        Some("data-tier") => "internal".to_owned(),
        Some("key-prefix") => "bh".to_owned(),
        _ if name == "expires_at" => "\"2027-01-01T00:00:00Z\"".to_owned(),
        _ if name == "client_ip_source" => "CLIENT_IP_SOURCE_UNSPECIFIED".to_owned(),
        _ if name == "currency" => "USD".to_owned(),
        _ => "text".to_owned(),
    }
}
