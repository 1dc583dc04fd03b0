//! The tree against the shape: every unknown key, wrong type, bad word and number out of range, all at once.

use std::collections::BTreeMap;

use crate::path::Path;
use crate::problem::{Origin, Problem, nearest};
use crate::shape::{Kind, Shape, TextRule};
use crate::text::check_format;
use crate::yaml::node::{Content, Entry, Node, Scalar, Style};

/// A problem before its source has a name.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) origin: Origin,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

/// A setting that is accepted but not active yet: first place, and how often it occurs.
#[derive(Clone, Debug)]
pub(crate) struct Sleeper {
    pub(crate) path: String,
    pub(crate) origin: Origin,
    pub(crate) comes_with: &'static str,
    pub(crate) times: usize,
}

#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) findings: Vec<Finding>,
    pub(crate) sleepers: BTreeMap<String, Sleeper>,
}

impl Finding {
    pub(crate) fn new(origin: Origin, path: String, message: String) -> Self {
        Self { origin, path, message, suggestion: None }
    }

    pub(crate) fn into_problem(self, source: &dyn Fn(Origin) -> String) -> Problem {
        let (line, column) = match self.origin {
            Origin::File { line, column } => (line, column),
            Origin::Default | Origin::Env(_) => (0, 0),
        };
        let source = source(self.origin);
        Problem { source, line, column, path: self.path, message: self.message, suggestion: self.suggestion }
    }
}

/// Checks a whole tree.
pub(crate) fn check(root: &Node, shape: &'static Shape) -> Checked {
    let mut checker = Checker { out: Checked::default(), path: Path::default(), asleep: false };
    checker.node(root, shape, root.origin);
    checker.out
}

struct Checker {
    out: Checked,
    path: Path,
    /// Inside a part that was already reported as not active yet.
    asleep: bool,
}

impl Checker {
    /// `at` is where the setting begins: its key, or the value itself in a list.
    fn node(&mut self, node: &Node, shape: &'static Shape, at: Origin) {
        let entered = self.report_sleeper(node, shape, at);
        self.value(node, shape);
        if entered {
            self.asleep = false;
        }
    }

    fn report_sleeper(&mut self, node: &Node, shape: &'static Shape, at: Origin) -> bool {
        let Some(comes_with) = shape.comes_with.as_deref().filter(|_| !self.asleep && !node.is_null()) else {
            return false;
        };
        let path = self.path.to_string();
        let first = Sleeper { path, origin: at, comes_with, times: 0 };
        self.out.sleepers.entry(self.path.pattern()).or_insert(first).times += 1;
        self.asleep = true;
        true
    }

    fn value(&mut self, node: &Node, shape: &'static Shape) {
        let container =
            matches!(&shape.kind, Kind::Object { .. } | Kind::Map(_) | Kind::List(_) | Kind::Free);
        if node.is_null() && (shape.nullable || container) {
            if let Kind::Object { required, .. } = &shape.kind
                && !shape.nullable
            {
                self.required(&[], required, node.origin);
            }
            return;
        }
        match (&shape.kind, &node.content) {
            (Kind::Free, _) => {}
            (Kind::Either(shapes), _) => self.either(node, shapes),
            (Kind::Object { fields, required }, Content::Map(entries)) => {
                self.object(entries, fields, required, node.origin)
            }
            (Kind::Map(value), Content::Map(entries)) => {
                for entry in entries {
                    self.path.key(&entry.key);
                    self.node(&entry.node, value, entry.key_origin);
                    self.path.pop();
                }
            }
            (Kind::List(element), Content::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.index(index);
                    self.node(item, element, item.origin);
                    self.path.pop();
                }
            }
            (Kind::Text(rule), Content::Scalar(scalar)) => self.text(scalar, rule, shape, node.origin),
            (Kind::Word(words), Content::Scalar(scalar)) => self.word(scalar, words, node.origin),
            (Kind::Bool, Content::Scalar(scalar)) if scalar.is_bool() => {}
            (Kind::Integer { min, max }, Content::Scalar(scalar)) => {
                self.integer(scalar, *min, *max, node.origin)
            }
            (Kind::Number { min, max }, Content::Scalar(scalar)) => {
                self.number(scalar, *min, *max, node.origin)
            }
            (kind, _) => self.say(node.origin, format!("expected {}, found {}", wanted(kind), found(node))),
        }
    }

    fn object(
        &mut self,
        entries: &[Entry],
        fields: &'static [(String, Shape)],
        required: &[String],
        origin: Origin,
    ) {
        for entry in entries {
            self.path.key(&entry.key);
            match fields.iter().find(|(name, _)| *name == entry.key) {
                Some((_, shape)) => self.node(&entry.node, shape, entry.key_origin),
                None => {
                    let suggestion = nearest(&entry.key, fields.iter().map(|(name, _)| name.as_str()));
                    let path = self.path.to_string();
                    let message = "unknown key".to_owned();
                    self.out.findings.push(Finding { origin: entry.key_origin, path, message, suggestion });
                }
            }
            self.path.pop();
        }
        self.required(entries, required, origin);
    }

    fn required(&mut self, entries: &[Entry], required: &[String], origin: Origin) {
        for name in required.iter().filter(|name| !entries.iter().any(|entry| entry.key == **name)) {
            self.say(origin, format!("`{name}` is missing"));
        }
    }

    /// Among alternatives, the one whose form the value has is the one that was meant.
    fn either(&mut self, node: &Node, shapes: &'static [Shape]) {
        let fits = |shape: &&'static Shape| match &node.content {
            Content::Map(_) => shape.fields().is_some() || shape.map_value().is_some(),
            Content::List(_) => shape.element().is_some(),
            Content::Scalar(_) => {
                shape.fields().is_none() && shape.map_value().is_none() && shape.element().is_none()
            }
        };
        match shapes.iter().find(fits) {
            Some(shape) => self.value(node, shape),
            None => {
                let forms: Vec<_> = shapes.iter().map(|shape| wanted(&shape.kind)).collect();
                self.say(node.origin, format!("expected {}, found {}", forms.join(" or "), found(node)));
            }
        }
    }

    fn text(&mut self, scalar: &Scalar, rule: &TextRule, shape: &Shape, origin: Origin) {
        let bare = scalar.style == Style::Plain;
        if bare && (scalar.is_null() || scalar.is_bool() || (scalar.is_number() && !rule.numeric)) {
            let what = if scalar.is_number() {
                "a number"
            } else if scalar.is_null() {
                "nothing"
            } else {
                "true or false"
            };
            return self.say(origin, format!("expected text, found {what}: put it in quotes"));
        }
        if rule.numeric && scalar.style == Style::Plain && scalar.text.starts_with('+') {
            return self.say(origin, "a sign is not used here".to_owned());
        }
        let length = scalar.text.chars().count();
        if length < rule.length_min {
            let least = rule.length_min;
            let message = if least == 1 {
                "can't be empty".to_owned()
            } else {
                format!("must have at least {least} characters")
            };
            return self.say(origin, message);
        }
        if rule.length_max.is_some_and(|most| length > most) {
            return self.say(
                origin,
                format!("must have at most {} characters", rule.length_max.unwrap_or_default()),
            );
        }
        if let Some(start) = rule.starts_with.as_deref().filter(|start| !scalar.text.starts_with(*start)) {
            return self.say(origin, format!("must start with `{start}`"));
        }
        if rule
            .capitals
            .is_some_and(|n| scalar.text.len() != n || !scalar.text.bytes().all(|b| b.is_ascii_uppercase()))
        {
            return self.say(origin, "expected a code of three capital letters such as USD".to_owned());
        }
        if let Some(Err(message)) = shape.format().map(|format| check_format(format, &scalar.text)) {
            self.say(origin, message);
        }
    }

    fn word(&mut self, scalar: &Scalar, words: &[String], origin: Origin) {
        if words.iter().any(|word| **word == *scalar.text) {
            return;
        }
        // What came from the environment may be a secret in the wrong place: never repeat it.
        let written = if scalar.style == Style::External {
            String::new()
        } else {
            format!(", found `{}`", scalar.text)
        };
        let suggestion = nearest(&scalar.text, words.iter().map(String::as_str));
        let message = format!("expected one of {}{written}", words.join(", "));
        self.out.findings.push(Finding { origin, path: self.path.to_string(), message, suggestion });
    }

    fn integer(&mut self, scalar: &Scalar, min: i64, max: i64, origin: Origin) {
        let number = scalar.text.parse::<i64>().ok().filter(|_| scalar.style != Style::Quoted);
        match number {
            Some(number) if number < min => self.say(origin, format!("must be at least {min}")),
            Some(number) if number > max => self.say(origin, format!("must be at most {max}")),
            Some(_) => {}
            None => self.say(origin, format!("expected a whole number, found {}", describe(scalar))),
        }
    }

    fn number(&mut self, scalar: &Scalar, min: f64, max: f64, origin: Origin) {
        let number =
            scalar.text.parse::<f64>().ok().filter(|n| n.is_finite() && scalar.style != Style::Quoted);
        match number {
            Some(number) if number < min || number > max => {
                self.say(origin, format!("must lie between {min} and {max}"))
            }
            Some(_) => {}
            None => self.say(origin, format!("expected a number, found {}", describe(scalar))),
        }
    }

    fn say(&mut self, origin: Origin, message: String) {
        self.out.findings.push(Finding::new(origin, self.path.to_string(), message));
    }
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Object { .. } | Kind::Map(_) => "a mapping",
        Kind::List(_) => "a list",
        Kind::Text(_) => "text",
        Kind::Word(_) => "a word",
        Kind::Bool => "true or false",
        Kind::Integer { .. } => "a whole number",
        Kind::Number { .. } => "a number",
        Kind::Either(_) => "one of several forms",
        Kind::Free => "anything",
    }
}

/// Names the form of a value, never the value: it may be a secret in the wrong place.
fn found(node: &Node) -> &'static str {
    match &node.content {
        Content::Scalar(scalar) => describe(scalar),
        Content::List(_) => "a list",
        Content::Map(_) => "a mapping",
    }
}

fn describe(scalar: &Scalar) -> &'static str {
    if scalar.is_null() {
        "nothing"
    } else if scalar.is_bool() {
        "true or false"
    } else if scalar.is_number() {
        if scalar.text.contains(['.', 'e', 'E']) { "a fraction" } else { "a number" }
    } else if scalar.style == Style::Quoted {
        "text in quotes"
    } else {
        "text"
    }
}
