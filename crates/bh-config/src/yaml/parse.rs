//! Text to tree, over the event parser of serde-saphyr.
//!
//! Events rather than serde: the tree keeps each number's own digits (money is never a float), and every
//! duplicate key is reported, not just the first.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use super::node::{Content, Entry, Node, Scalar, Style};
use crate::problem::Origin;

/// The largest configuration file.
pub(crate) const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The deepest nesting.
pub(crate) const DEPTH_MAX: usize = 32;
/// The most values one file may hold, counting each use of an anchor in full.
pub(crate) const NODES_MAX: usize = 4_000_000;

/// A fault of the text itself.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) origin: Origin,
    pub(crate) message: String,
}

/// Reads one YAML document. Duplicate keys are collected beside the tree; anything worse ends the reading.
pub(crate) fn parse(text: &str) -> Result<(Node, Vec<Fault>), Fault> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024);
        return Err(Fault { origin: Origin::Default, message });
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        duplicates: Vec::new(),
        nodes_left: NODES_MAX,
    };
    let root = reader.document()?;
    Ok((root, reader.duplicates))
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, (Node, usize)>,
    duplicates: Vec<Fault>,
    nodes_left: usize,
}

type Next<'t> = (Event<'t>, Span);

impl<'t> Reader<'t> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn further events")]
    fn document(&mut self) -> Result<Node, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(fault(&span, "one file holds one document: remove the second `---`"));
                }
                Event::DocumentStart(..) => {
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?);
                }
                other => return Err(fault(&span, &format!("unexpected YAML: {other:?}"))),
            }
        }
        Ok(root.unwrap_or_else(|| Node::empty_map(Origin::Default)))
    }

    fn next(&mut self) -> Result<Next<'t>, Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                Err(Fault { origin: place(error.marker()), message: format!("not YAML: {}", error.info()) })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn further events")]
    fn node(&mut self, (event, span): Next<'t>, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(fault(&span, &format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.count(1, &span)?;
        let before = self.nodes_left;
        let origin = place(&span.start);
        let (content, anchor) = match event {
            Event::Alias(id) => return self.alias(id, &span),
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, _, Some(tag))
            | Event::MappingStart(_, _, Some(tag)) => {
                return Err(fault(&span, &format!("YAML tags are not used here: `{}`", tag.original())));
            }
            Event::Scalar(text, style, anchor, None) => (Content::Scalar(scalar(&text, style)), anchor),
            Event::SequenceStart(_, anchor, None) => (self.list(depth)?, anchor),
            Event::MappingStart(_, anchor, None) => (self.map(depth)?, anchor),
            other => return Err(fault(&span, &format!("unexpected YAML: {other:?}"))),
        };
        let node = Node { content, origin };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), before - self.nodes_left + 1));
        }
        Ok(node)
    }

    /// An alias is a copy that counts in full, so a few lines can't unfold into gigabytes.
    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, Fault> {
        let size = self.anchors.get(&id).map_or(0, |(_, size)| *size);
        self.count(size, span)?;
        match self.anchors.get(&id) {
            Some((node, _)) => Ok(node.clone()),
            None => Err(fault(span, "an anchor can't hold itself")),
        }
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Fault> {
        let left = self.nodes_left.checked_sub(nodes);
        self.nodes_left = left.ok_or_else(|| fault(span, &format!("more than {NODES_MAX} values")))?;
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Content, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => {
                    items.shrink_to_fit();
                    return Ok(Content::List(items));
                }
                next => items.push(self.node(next, depth + 1)?),
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn further events")]
    fn map(&mut self, depth: usize) -> Result<Content, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => (text.into_owned(), matches!(style, ScalarStyle::Plain)),
                _ => return Err(fault(&span, "a key must be plain text")),
            };
            let value = self.next()?;
            let node = self.node(value, depth + 1)?;
            if plain && key == "<<" {
                merged.extend(merge_entries(node, &span)?);
                continue;
            }
            if !seen.insert(key.clone()) {
                self.duplicates.push(fault(&span, &format!("duplicate key `{key}`")));
                continue;
            }
            entries.push(Entry { key, key_origin: place(&span.start), node });
        }
        // A mapping's own keys win over those that `<<` brings in, and an earlier source over a later.
        entries.extend(merged.into_iter().filter(|entry| seen.insert(entry.key.clone())));
        // Thousands of small mappings live until the settings are typed: room to grow would be half of their memory.
        entries.shrink_to_fit();
        Ok(Content::Map(entries))
    }
}

fn merge_entries(node: Node, span: &Span) -> Result<Vec<Entry>, Fault> {
    match node.content {
        Content::Map(entries) => Ok(entries),
        Content::List(items) => {
            let nested: Result<Vec<_>, _> = items.into_iter().map(|item| merge_entries(item, span)).collect();
            nested.map(|lists| lists.into_iter().flatten().collect())
        }
        Content::Scalar(_) => Err(fault(span, "`<<` takes a mapping or a list of mappings")),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Scalar {
    let style = if matches!(style, ScalarStyle::Plain) { Style::Plain } else { Style::Quoted };
    Scalar { text: text.into(), style }
}

fn fault(span: &Span, message: &str) -> Fault {
    Fault { origin: place(&span.start), message: message.to_owned() }
}

fn place(marker: &Marker) -> Origin {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Origin::File { line: number(marker.line()).max(1), column: number(marker.col()).saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Path;

    fn text_at(root: &Node, path: &str) -> String {
        match &root.at(&Path::parse(path).unwrap()).unwrap().content {
            Content::Scalar(scalar) => scalar.text.to_string(),
            other @ (Content::List(_) | Content::Map(_)) => panic!("not a scalar: {other:?}"),
        }
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let (root, duplicates) = parse("a:\n  b: 1.50\n  c: [x, 'y']\n").unwrap();
        assert!(duplicates.is_empty());
        assert_eq!(text_at(&root, "a.b"), "1.50");
        assert_eq!(
            root.at(&Path::parse("a.c[1]").unwrap()).unwrap().origin,
            Origin::File { line: 3, column: 10 }
        );
    }

    #[test]
    fn all_duplicate_keys_are_found_and_the_first_value_stands() {
        let (root, duplicates) = parse("a: 1\nb: 2\na: 3\nb: 4\n").unwrap();
        let found: Vec<_> = duplicates.iter().map(|d| (d.origin, d.message.as_str())).collect();
        let at = |line| Origin::File { line, column: 1 };
        assert_eq!(found, [(at(3), "duplicate key `a`"), (at(4), "duplicate key `b`")]);
        assert_eq!(text_at(&root, "a"), "1");
    }

    #[test]
    fn anchors_and_merge_keys_are_unfolded() {
        let (root, _) = parse("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\nsame: *b\n").unwrap();
        assert_eq!((text_at(&root, "more.x"), text_at(&root, "more.y")), ("1".to_owned(), "3".to_owned()));
        assert_eq!(text_at(&root, "same.y"), "2");
    }

    #[test]
    fn a_bomb_of_anchors_is_refused_in_time() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let uses = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
        }
        assert_eq!(parse(&text).unwrap_err().message, format!("more than {NODES_MAX} values"));
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(parse(&deep).unwrap_err().message.starts_with("nested deeper than"));
    }

    #[test]
    fn two_documents_and_tags_are_refused() {
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().message.contains("one document"));
        assert!(parse("a: !!binary aGk=\n").unwrap_err().message.contains("tags"));
        assert!(parse("").unwrap().0.get("a").is_none());
    }
}
