//! The permission language (dossier §13.4): a caller asks `documents.read AND (documents.write OR admin)`, a key has
//! been granted `documents.*`.
//!
//! `AND` binds tighter than `OR`. Wildcards belong to what is granted: `*` as the last segment stands for one or more
//! segments, elsewhere for exactly one. A query names permissions in full.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::syntax::{Cursor, SyntaxError};

/// The longest query, in characters.
pub const QUERY_CHARS_MAX: usize = 1_000;
/// The most permissions one query names.
pub const QUERY_PERMISSIONS_MAX: usize = 100;
/// How deep parentheses may stand in each other.
pub const QUERY_DEPTH_MAX: usize = 32;
/// The longest permission, in bytes.
pub const PERMISSION_BYTES_MAX: usize = 255;

const WILDCARD: &str = "*";

/// A permission as it is granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "Box<str>")]
pub struct Permission(Box<str>);

impl TryFrom<String> for Permission {
    type Error = PermissionError;

    fn try_from(text: String) -> Result<Self, PermissionError> {
        Self::parse(&text)
    }
}

impl From<Permission> for Box<str> {
    fn from(permission: Permission) -> Self {
        permission.0
    }
}

/// A text that cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a permission: at most {PERMISSION_BYTES_MAX} characters, names of letters, digits, `_`, `-` and `:` \
     joined by dots, or `*` in place of a name"
)]
pub struct PermissionError(pub String);

impl Permission {
    /// Checks and takes a permission.
    ///
    /// # Errors
    /// [`PermissionError`] when a segment is empty, or neither a name nor `*`.
    pub fn parse(text: &str) -> Result<Self, PermissionError> {
        let segment = |s: &str| s == WILDCARD || (!s.is_empty() && s.chars().all(is_name));
        if text.len() <= PERMISSION_BYTES_MAX && text.split('.').all(segment) {
            Ok(Self(text.into()))
        } else {
            Err(PermissionError(text.chars().take(PERMISSION_BYTES_MAX).collect()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether whoever has been granted this has the permission `name`.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let mut asked = name.split('.');
        let mut granted = self.0.split('.').peekable();
        while let Some(segment) = granted.next() {
            match asked.next() {
                None => return false,
                Some(_) if segment == WILDCARD && granted.peek().is_none() => return true,
                Some(name) if segment != WILDCARD && segment != name => return false,
                Some(_) => {}
            }
        }
        asked.next().is_none()
    }
}

/// What may stand in a name between dots.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':')
}

/// A question about permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionQuery(Node);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Name(Box<str>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

impl PermissionQuery {
    /// Reads a query. `and` and `or` are understood in lower case as well.
    ///
    /// # Errors
    /// [`SyntaxError`] says what was expected, and where.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut parser = Parser { cursor: Cursor::new(text), names: 0, depth: 0 };
        if text.chars().nth(QUERY_CHARS_MAX).is_some() {
            let problem = format!("the query is longer than {QUERY_CHARS_MAX} characters");
            return Err(parser.cursor.error(problem));
        }
        let node = parser.any()?;
        if !parser.cursor.is_at_end() {
            return Err(parser.cursor.error("expected AND, OR or the end"));
        }
        Ok(Self(node))
    }

    /// Whether these permissions are enough.
    #[must_use]
    pub fn is_met_by(&self, granted: &[Permission]) -> bool {
        self.is_met_where(&|name| grants(granted, name))
    }

    /// Whether those permissions are enough that `has` says are there.
    #[must_use]
    pub fn is_met_where(&self, has: &impl Fn(&str) -> bool) -> bool {
        self.0.is_met_where(has)
    }
}

/// Whether one of these covers the permission `name`.
#[must_use]
pub fn grants(granted: &[Permission], name: &str) -> bool {
    granted.iter().any(|permission| permission.covers(name))
}

impl Node {
    fn is_met_where(&self, has: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Name(name) => has(name),
            Self::All(nodes) => nodes.iter().all(|node| node.is_met_where(has)),
            Self::Any(nodes) => nodes.iter().any(|node| node.is_met_where(has)),
        }
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    names: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Node, SyntaxError> {
        self.joined("OR", Self::all, Node::Any)
    }

    fn all(&mut self) -> Result<Node, SyntaxError> {
        self.joined("AND", Self::one, Node::All)
    }

    /// One or more of `part`, with `word` between them.
    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Node, SyntaxError>,
        join: fn(Vec<Node>) -> Node,
    ) -> Result<Node, SyntaxError> {
        let first = part(self)?;
        let mut nodes = Vec::new();
        while self.eat_word(word) {
            nodes.push(part(self)?);
        }
        if nodes.is_empty() {
            return Ok(first);
        }
        nodes.insert(0, first);
        Ok(join(nodes))
    }

    /// A name, or a query in parentheses; and the white space round it.
    fn one(&mut self) -> Result<Node, SyntaxError> {
        self.skip_space();
        let node = if self.cursor.eat("(") { self.nested()? } else { self.name()? };
        self.skip_space();
        Ok(node)
    }

    fn nested(&mut self) -> Result<Node, SyntaxError> {
        self.depth += 1;
        if self.depth > QUERY_DEPTH_MAX {
            let problem = format!("parentheses stand more than {QUERY_DEPTH_MAX} deep");
            return Err(self.cursor.error(problem));
        }
        let node = self.any()?;
        if !self.cursor.eat(")") {
            return Err(self.cursor.error("expected AND, OR or `)`"));
        }
        self.depth -= 1;
        Ok(node)
    }

    fn name(&mut self) -> Result<Node, SyntaxError> {
        let start = self.cursor.place();
        let name = self.cursor.take_while(|c| is_name(c) || c == '.' || c == '*');
        let problem = if name.is_empty() || is_keyword(name) {
            "expected a permission or `(`"
        } else if name.contains('*') {
            "a query names permissions in full, without `*`; this one begins"
        } else if name.split('.').any(str::is_empty) {
            "a permission has a name on either side of each dot; this one begins"
        } else if name.len() > PERMISSION_BYTES_MAX {
            "a permission has at most 255 characters; this one begins"
        } else if self.names == QUERY_PERMISSIONS_MAX {
            "a query names at most 100 permissions; one more begins"
        } else {
            self.names += 1;
            return Ok(Node::Name(name.into()));
        };
        Err(self.cursor.error_at(start, problem))
    }

    /// Takes `word` if it comes next as a whole word.
    fn eat_word(&mut self, word: &str) -> bool {
        let ahead = self.cursor.peek_while(|c| is_name(c) || c == '.' || c == '*');
        ahead.eq_ignore_ascii_case(word) && self.cursor.eat(ahead)
    }

    fn skip_space(&mut self) {
        self.cursor.take_while(|c| c.is_ascii_whitespace());
    }
}

fn is_keyword(name: &str) -> bool {
    name.eq_ignore_ascii_case("AND") || name.eq_ignore_ascii_case("OR")
}

#[cfg(test)]
mod tests;
