//! MCP servers and their tools: what they are called, and where a server is (seed 001; Connectors dossier §2.2, §9).

use std::fmt;

use crate::tenant::is_label;

/// Longest name of a server, in bytes: it is a DNS label, as the seed's service names are.
pub const SERVER_NAME_BYTES_MAX: usize = 63;
/// Longest category, in bytes.
pub const CATEGORY_BYTES_MAX: usize = 64;
/// Longest id of a tool, in bytes.
pub const TOOL_ID_BYTES_MAX: usize = 256;
/// Longest address of a server, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// A name that is none, and what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {wanted}")]
pub struct ToolNameError {
    /// Which member.
    pub field: &'static str,
    /// What is wanted.
    pub wanted: String,
}

impl ToolNameError {
    fn new(field: &'static str, wanted: impl Into<String>) -> Self {
        Self { field, wanted: wanted.into() }
    }
}

/// The name of a server: `^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`, unique within its tenant. It has no dot, so that a tool's
/// id tells its server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`ToolNameError`] says what a name looks like.
    pub fn parse(text: &str) -> Result<Self, ToolNameError> {
        if is_label(text, SERVER_NAME_BYTES_MAX) {
            return Ok(Self(text.to_owned()));
        }
        let wanted = format!(
            "1 to {SERVER_NAME_BYTES_MAX} lower-case letters, digits and `-`, with a letter or digit at both ends, such as \
             `acme-crm`"
        );
        Err(ToolNameError::new("name", wanted))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tool's id: the server's name, a dot, and the tool's own name on that server.
#[must_use]
pub fn tool_id(server: &str, tool: &str) -> String {
    format!("{server}.{tool}")
}

/// The server and the tool that an id names.
///
/// # Errors
/// [`ToolNameError`] when it names none.
pub fn split_tool_id(id: &str) -> Result<(&str, &str), ToolNameError> {
    let parts = id.split_once('.').filter(|(server, tool)| !server.is_empty() && is_tool_name(tool));
    parts.filter(|_| id.len() <= TOOL_ID_BYTES_MAX).ok_or_else(|| {
        let wanted = "the server's name, a dot and the tool's name, such as `github.createPullRequest`";
        ToolNameError::new("toolId", wanted)
    })
}

/// Whether a tool may have this name: `^[A-Za-z0-9._/-]+$` (MCP, "Tool Names", and what servers have used before), and its id
/// has room for it.
#[must_use]
pub fn is_tool_name(name: &str) -> bool {
    let others = b"._/-";
    let longest = TOOL_ID_BYTES_MAX - SERVER_NAME_BYTES_MAX - 1;
    (1..=longest).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

/// Checks a category: `^[a-z0-9_-]+$`.
///
/// # Errors
/// [`ToolNameError`] says what it looks like.
pub fn category(text: &str) -> Result<&str, ToolNameError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=CATEGORY_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text);
    }
    let wanted = format!(
        "1 to {CATEGORY_BYTES_MAX} lower-case letters, digits, `_` and `-`, such as `project-management`"
    );
    Err(ToolNameError::new("category", wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_id_leads_back_to_its_server_and_name_whatever_dots_the_name_has() {
        for (server, tool) in [("github", "createPullRequest"), ("a-1", "files.read"), ("x", "a/b_c-D.9")] {
            ServerName::parse(server).unwrap();
            assert_eq!(split_tool_id(&tool_id(server, tool)), Ok((server, tool)));
        }
        let longest = "t".repeat(TOOL_ID_BYTES_MAX - SERVER_NAME_BYTES_MAX - 1);
        let server = "s".repeat(SERVER_NAME_BYTES_MAX);
        assert_eq!(split_tool_id(&tool_id(&server, &longest)), Ok((server.as_str(), longest.as_str())));
        for bad in ["", "github", "github.", ".x", "github.a b", "github.ä", &format!("g.{longest}t")] {
            assert!(split_tool_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_and_categories_have_plain_names() {
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(category("project-management"), Ok("project-management"));
        for bad in ["", "Code", "a b", "ä", &"a".repeat(65)] {
            assert!(category(bad).is_err(), "{bad}");
        }
    }
}
