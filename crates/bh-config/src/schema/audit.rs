//! The trail of who did what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The trail of who did what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Days that failed verifications are kept on it, and requests that were refused for who asked or only read. All other
    /// events are kept for ever.
    #[schemars(range(min = 1, max = 36_500))]
    pub failure_retention_days: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { failure_retention_days: 90 }
    }
}
