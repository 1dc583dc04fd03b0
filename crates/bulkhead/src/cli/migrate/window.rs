//! The migration window in the configuration file (seed 001, migration step 1): a block at its end, and nothing else of it.

use bh_domain::hash::sha256;
use bh_domain::tenant::DEFAULT_TENANT;

/// What the file still needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// Nothing: the block is there and says so.
    Open,
    /// These lines at its end.
    Append(String),
    /// A block is there that says something else: a person has to decide.
    Differs(String),
}

/// The block of seed 001 that lets old clients in.
fn block() -> String {
    format!(
        "\n# Coming from a single tenant: calls without a key are `{DEFAULT_TENANT}`'s. Take `requireApiKey` out when\n\
         # `bulkhead migrate verify` says that nobody calls without a key any more.\n\
         multiTenant:\n  enabled: true\n  fallbackTenantId: {DEFAULT_TENANT}\n  requireApiKey: false\n"
    )
}

/// What a configuration file needs, which has this text and this block, if any.
pub(super) fn wanted(text: &str, block_there: Option<&bh_config::schema::ConnectorsTenancy>) -> Window {
    let Some(there) = block_there else {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Window::Append(format!("{gap}{}", block()));
    };
    let fallback = there.fallback_tenant_id.as_ref().map_or(DEFAULT_TENANT, |id| id.0.as_str());
    if there.enabled && fallback == DEFAULT_TENANT {
        // Whether keys are required by now is the operator's: a window that was closed stays closed.
        return Window::Open;
    }
    Window::Differs(format!(
        "`multiTenant` is in the configuration and says `enabled: {}` and `fallbackTenantId: {fallback}`: make it \
         `enabled: true` and `fallbackTenantId: {DEFAULT_TENANT}`, or take it out",
        there.enabled
    ))
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(super) fn digest(text: &str) -> String {
    bh_domain::evidence::hex::encode(&sha256(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_appended_once_and_a_block_that_is_there_is_left_alone() {
        let Window::Append(lines) = wanted("server: {}", None) else { panic!("there is none") };
        assert!(lines.starts_with("\n\n#") && lines.ends_with("  requireApiKey: false\n"), "{lines}");
        let there = |yaml: &str| serde_json::from_str::<bh_config::schema::ConnectorsTenancy>(yaml).unwrap();
        for open in ["{}", r#"{"fallbackTenantId": "default", "requireApiKey": false}"#] {
            assert_eq!(wanted("", Some(&there(open))), Window::Open, "{open}");
        }
        for other in [r#"{"enabled": false}"#, r#"{"fallbackTenantId": "acme"}"#] {
            assert!(matches!(wanted("", Some(&there(other))), Window::Differs(_)), "{other}");
        }
    }
}
