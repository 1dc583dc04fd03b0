//! The tree: YAML values that remember where they were written.

use crate::path::{Path, Step};
use crate::problem::Origin;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
}

/// A scalar keeps its text, so that `0.10` never passes through a float.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: Box<str>,
    pub(crate) style: Style,
}

/// How a scalar was written, which decides what it may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare in the file: `true`, `42` and `null` have their own type.
    Plain,
    /// In quotes or as a block: always text.
    Quoted,
    /// From the environment or a secret's file: the setting's type decides.
    External,
}

impl Scalar {
    /// `null`, `~` or nothing at all, written bare.
    pub(crate) fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    /// A bare `true` or `false`; `yes`, `on` and `True` are texts, never booleans.
    pub(crate) fn is_bool(&self) -> bool {
        self.style != Style::Quoted && matches!(&*self.text, "true" | "false")
    }

    /// Written like a number, bare.
    pub(crate) fn is_number(&self) -> bool {
        let digits = self.text.strip_prefix(['-', '+']).unwrap_or(&self.text);
        let starts = digits.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.');
        self.style != Style::Quoted && starts && self.text.parse::<f64>().is_ok()
    }
}

impl Node {
    pub(crate) fn empty_map(origin: Origin) -> Self {
        Self { content: Content::Map(Vec::new()), origin }
    }

    pub(crate) fn external(text: &str, origin: Origin) -> Self {
        Self { content: Content::Scalar(Scalar { text: text.into(), style: Style::External }), origin }
    }

    pub(crate) fn map(entries: Vec<(&str, Self)>, origin: Origin) -> Self {
        let entry = |(key, node): (&str, Self)| Entry { key: key.to_owned(), key_origin: origin, node };
        Self { content: Content::Map(entries.into_iter().map(entry).collect()), origin }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// The value under `key`; `None` when this is no mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    pub(crate) fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| match step {
            Step::Key(key) => node.get(key),
            Step::Index(index) => match &node.content {
                Content::List(items) => items.get(*index),
                Content::Map(_) | Content::Scalar(_) => None,
            },
        })
    }

    /// The origin of the value at `path`, or of the nearest thing around it that was written down.
    pub(crate) fn origin_near(&self, path: &Path) -> Origin {
        let mut steps = path.clone();
        loop {
            if let Some(node) = self.at(&steps) {
                return node.origin;
            }
            steps.pop();
        }
    }

    /// The entries of a mapping; scalars and lists have none.
    pub(crate) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.content {
            Content::Map(entries) => Some(entries),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// Removes and returns what `key` holds.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let entries = self.entries_mut()?;
        let position = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(position))
    }

    /// The value under `key`, made an empty mapping when it is absent or null. `None` when this is no mapping.
    pub(crate) fn child_mut(&mut self, key: &str, origin: Origin) -> Option<&mut Self> {
        if self.is_null() {
            *self = Self::empty_map(origin);
        }
        let entries = self.entries_mut()?;
        let position = entries.iter().position(|entry| entry.key == key).unwrap_or(entries.len());
        if position == entries.len() {
            let null =
                Self { content: Content::Scalar(Scalar { text: "".into(), style: Style::Plain }), origin };
            entries.push(Entry { key: key.to_owned(), key_origin: origin, node: null });
        }
        entries.get_mut(position).map(|entry| &mut entry.node)
    }
}
