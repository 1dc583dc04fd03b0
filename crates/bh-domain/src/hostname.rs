//! Host names that lead to tenants (seed 003, Talos dossier §7.1 and §7.2): how one is normalised, which patterns may
//! be configured, and the table a request is looked up in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The longest host name, port and brackets taken off: DNS allows no longer one.
pub const HOSTNAME_BYTES_MAX: usize = 253;

/// Every other host name.
const CATCH_ALL: &str = "*";
/// What a pattern for all names below a domain begins with.
const BELOW: &str = "*.";

/// A host name as it is compared: ASCII lower case, without port, without a complete pair of brackets.
///
/// `None` for what is no host name at all: empty, longer than [`HOSTNAME_BYTES_MAX`], with a port that is no number, or
/// with a byte that does not print in ASCII. Unicode is never folded: no other letter may come to stand for an ASCII
/// one. Everything else is taken as written, so that two spellings are one name only by these rules.
#[must_use]
pub fn normalise(raw: &[u8]) -> Option<Cow<'_, str>> {
    let printable = raw.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let text = std::str::from_utf8(raw).ok().filter(|_| printable)?;
    let bare = without_brackets(without_port(text)?);
    if bare.is_empty() || bare.len() > HOSTNAME_BYTES_MAX {
        return None;
    }
    let capitals = bare.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if capitals { Cow::Owned(bare.to_ascii_lowercase()) } else { Cow::Borrowed(bare) })
}

/// The text without its port, which may be empty. A bare IPv6 address has colons and no port.
fn without_port(text: &str) -> Option<&str> {
    let Some((host, port)) = text.rsplit_once(':') else { return Some(text) };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if !bracketed && host.contains([':', '[', ']']) {
        return Some(text);
    }
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host)
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// What the configuration may name: one host, all below a domain (`*.example.com`), or every other (`*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name.
    Exact(Box<str>),
    /// Every name below this domain, however deep, but not the domain itself.
    Below(Box<str>),
    /// Every name that nothing else matches.
    CatchAll,
}

/// A text that no host can have as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host name of at most 253 ASCII characters such as tenant1.example.com (an international one in its `xn--` form), `*.example.com`, or `*`"
)]
pub struct HostPatternError;

impl HostPattern {
    /// Reads a configured name, which is normalised like a request's.
    ///
    /// # Errors
    /// [`HostPatternError`] when it normalises to nothing, or to something no request can ask for by right.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let name = normalise(text.as_bytes()).ok_or(HostPatternError)?;
        if name == CATCH_ALL {
            return Ok(Self::CatchAll);
        }
        let (below, plain) = match name.strip_prefix(BELOW) {
            Some(domain) => (true, domain),
            None => (false, &*name),
        };
        let written = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%~".contains(&byte);
        if plain.is_empty() || plain.starts_with('.') || !plain.bytes().all(written) {
            return Err(HostPatternError);
        }
        Ok(if below { Self::Below(plain.into()) } else { Self::Exact(plain.into()) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "{BELOW}{domain}"),
            Self::CatchAll => f.write_str(CATCH_ALL),
        }
    }
}

/// What each host name leads to. The narrowest pattern wins: the name itself, then the longest domain above it, then
/// the catch-all. An exact name costs one look-up, whatever the number of names.
#[derive(Clone, Debug)]
pub struct HostTable<T> {
    exact: HashMap<Box<str>, T>,
    below: HashMap<Box<str>, T>,
    catch_all: Option<T>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new(), catch_all: None }
    }
}

impl<T> HostTable<T> {
    /// An empty table with room for so many exact names.
    #[must_use]
    pub fn with_capacity(names: usize) -> Self {
        Self { exact: HashMap::with_capacity(names), ..Self::default() }
    }

    /// Adds a pattern; returns what it led to before.
    pub fn insert(&mut self, pattern: HostPattern, value: T) -> Option<T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name, value),
            HostPattern::Below(domain) => self.below.insert(domain, value),
            HostPattern::CatchAll => self.catch_all.replace(value),
        }
    }

    /// What a request's host, as it was sent, leads to.
    #[must_use]
    pub fn find(&self, raw: &[u8]) -> Option<&T> {
        let name = normalise(raw)?;
        self.exact(&name).or_else(|| self.wide(&name))
    }

    /// What a name that is normalised leads to by itself.
    #[must_use]
    pub fn exact(&self, name: &str) -> Option<&T> {
        self.exact.get(name)
    }

    /// What a name that is normalised leads to by a wildcard.
    #[must_use]
    pub fn wide(&self, name: &str) -> Option<&T> {
        self.find_below(name).or(self.catch_all.as_ref())
    }

    fn find_below(&self, name: &str) -> Option<&T> {
        if self.below.is_empty() {
            return None;
        }
        // From the left, so that the longest domain comes first. A name has one at most per dot, and 253 bytes.
        let domains = name.match_indices('.').filter(|(at, _)| *at > 0);
        domains.filter_map(|(at, _)| name.get(at + 1..)).find_map(|domain| self.below.get(domain))
    }

    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.below.len() + usize::from(self.catch_all.is_some())
    }

    /// Whether there is no pattern at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
