//! How many of a tenant's questions to servers are under way: each may hold an answer of some MiB in memory.

use std::collections::HashMap;
use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use parking_lot::Mutex;

/// Of one tenant, in one process.
const UNDER_WAY_MAX: usize = 64;

/// Questions under way, by tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<Nid, usize>>>);

/// One of them. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    all: UnderWay,
    nid: Nid,
}

impl UnderWay {
    /// Begins one.
    pub(super) fn begin(&self, nid: Nid) -> Result<Turn, Refusal> {
        let mut counts = self.0.lock();
        let count = counts.entry(nid).or_default();
        if *count >= UNDER_WAY_MAX {
            let message = format!(
                "The tenant has {UNDER_WAY_MAX} calls to its servers under way: try again when one has ended"
            );
            return Err(Refusal::new(Code::ToolBusy, message).retry_after(1));
        }
        *count += 1;
        Ok(Turn { all: self.clone(), nid })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock();
        if let Some(count) = counts.get_mut(&self.nid) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.nid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tenant_has_so_many_under_way_and_another_as_many_of_its_own() {
        let all = UnderWay::default();
        let (one, two) = (Nid(Uuid::from_u128(1)), Nid(Uuid::from_u128(2)));
        let mut turns: Vec<Turn> = (0..UNDER_WAY_MAX).map(|_| all.begin(one).unwrap()).collect();
        assert_eq!(all.begin(one).unwrap_err().code, Code::ToolBusy);
        assert!(all.begin(two).is_ok());
        turns.pop();
        assert!(all.begin(one).is_ok());
        drop(turns);
        assert!(all.0.lock().is_empty(), "nothing is kept of who has none");
    }
}
