//! Explanation codes: why a decision went the way it did, as stable words for people and programs.
//!
//! The vocabulary is the one of seed 002's evidence records (`explanations[].code`).

/// The call was allowed as it was.
pub const POLICY_ALLOWED: &str = "POLICY_ALLOWED";
/// The call was refused by a rule that has no more specific code.
pub const POLICY_DENIED: &str = "POLICY_DENIED";
/// Refused: personal data in the input.
pub const POLICY_DENIED_PII_INPUT: &str = "POLICY_DENIED_PII_INPUT";
/// Refused: personal data in the output.
pub const POLICY_DENIED_PII_OUTPUT: &str = "POLICY_DENIED_PII_OUTPUT";
/// Refused: a budget would have been exceeded.
pub const POLICY_DENIED_COST: &str = "POLICY_DENIED_COST";
/// Refused: the data may not leave for that destination.
pub const POLICY_DENIED_EGRESS: &str = "POLICY_DENIED_EGRESS";
/// Refused: no provider or model may serve the call.
pub const POLICY_DENIED_ROUTING: &str = "POLICY_DENIED_ROUTING";
/// Refused: a tool is not allowed.
pub const POLICY_DENIED_TOOL: &str = "POLICY_DENIED_TOOL";
/// Refused by a hook.
pub const POLICY_DENIED_HOOK: &str = "POLICY_DENIED_HOOK";
/// Refused: the circuit breaker is open.
pub const POLICY_DENIED_CIRCUIT_BREAKER: &str = "POLICY_DENIED_CIRCUIT_BREAKER";
/// Ended before it was complete.
pub const POLICY_DENIED_EARLY_TERMINATION: &str = "POLICY_DENIED_EARLY_TERMINATION";
/// Allowed after the content was changed.
pub const POLICY_MODIFIED: &str = "POLICY_MODIFIED";
/// Allowed after a part (a tool, an attachment) was taken out.
pub const POLICY_FILTERED: &str = "POLICY_FILTERED";
/// Allowed, and the execution failed.
pub const EXECUTION_FAILED: &str = "EXECUTION_FAILED";
/// A free-text reason of an imported record that has no code.
pub const LEGACY_REASON_UNMIGRATED: &str = "LEGACY_REASON_UNMIGRATED";
/// What every code of an external graph run starts with.
pub const GRAPH_PREFIX: &str = "GRAPH_";

/// Every complete code, for documentation, filters and schema enums.
pub const ALL: [&str; 15] = [
    POLICY_ALLOWED,
    POLICY_DENIED,
    POLICY_DENIED_PII_INPUT,
    POLICY_DENIED_PII_OUTPUT,
    POLICY_DENIED_COST,
    POLICY_DENIED_EGRESS,
    POLICY_DENIED_ROUTING,
    POLICY_DENIED_TOOL,
    POLICY_DENIED_HOOK,
    POLICY_DENIED_CIRCUIT_BREAKER,
    POLICY_DENIED_EARLY_TERMINATION,
    POLICY_MODIFIED,
    POLICY_FILTERED,
    EXECUTION_FAILED,
    LEGACY_REASON_UNMIGRATED,
];

/// Whether `code` is one a record may carry.
#[must_use]
pub fn is_known(code: &str) -> bool {
    ALL.contains(&code) || code.strip_prefix(GRAPH_PREFIX).is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_strangers_are_not_known() {
        let distinct: std::collections::BTreeSet<_> = ALL.into_iter().collect();
        assert_eq!(distinct.len(), ALL.len());
        assert!(ALL.into_iter().all(is_known) && is_known("GRAPH_NODE_DENIED"));
        assert!(!is_known("GRAPH_") && !is_known("policy_allowed") && !is_known(""));
    }
}
