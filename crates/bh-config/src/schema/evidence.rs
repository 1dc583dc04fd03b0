//! The signed record of every decision.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::words;
use crate::text::GoDuration;

/// The signed record of every decision.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// `strict`: on disk before the end of the answer leaves. `relaxed`: within 5 ms after it.
    pub durability: Durability,
    /// `refuse`: calls are refused while evidence can't be written. `degrade`: they go on, and the gap is recorded.
    pub on_failure: OnFailure,
    /// Whether prompts are kept, sealed with the tenant's key. Their hashes always are.
    pub store_prompts: bool,
    /// Whether answers are kept, sealed with the tenant's key. Their hashes always are.
    pub store_answers: bool,
    /// Days that records are kept before a tombstone takes their place. Absent: for ever.
    #[schemars(range(min = 1, max = 36_500), example = 365)]
    pub retention_days: Option<u32>,
    /// How often each tenant's tree gets a signed checkpoint. At most 1,024 trees are signed a
    /// second: when more have grown, each waits its turn.
    pub checkpoint_interval: GoDuration,
    /// How records share a flush to disk.
    pub group_commit: GroupCommit,
    /// Durability by path; the longest matching prefix decides.
    pub routes: Vec<RouteDurability>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            durability: Durability::Strict,
            on_failure: OnFailure::Refuse,
            store_prompts: false,
            store_answers: false,
            retention_days: None,
            checkpoint_interval: GoDuration(std::time::Duration::from_secs(1)),
            group_commit: GroupCommit::default(),
            routes: Vec::new(),
        }
    }
}

/// How records share a flush to disk.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupCommit {
    /// Most records in one transaction.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_batch: u32,
    /// How long a flush waits for company, in microseconds.
    #[schemars(range(max = 5_000))]
    pub linger_us: u32,
}

impl Default for GroupCommit {
    fn default() -> Self {
        Self { max_batch: 1_024, linger_us: 200 }
    }
}

/// Durability of one part of the URL space.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteDurability {
    /// Start of the path.
    #[schemars(example = &"/v1/proxy/ollama", regex(pattern = r"^/"))]
    pub prefix: String,
    /// What holds there.
    #[schemars(example = &"relaxed")]
    pub durability: Durability,
}

words!(
    /// When a record is safe on disk.
    Durability {
        /// Before the end of the answer leaves.
        Strict,
        /// Within 5 ms after it.
        Relaxed,
    }
);
words!(
    /// What happens while evidence can't be written.
    OnFailure {
        /// Calls are refused before the provider is reached.
        Refuse,
        /// Calls go on; the gap is recorded.
        Degrade,
    }
);
