//! How many failures of a tenant are written, and how the others are counted.
//!
//! A minute begins with a tenant's first failure. Its first nine are written at once; the tenth is written when the minute
//! is over, with the number of those that have no event of their own. So ten events tell of any number of failures.

use std::net::IpAddr;
use std::time::Duration;

use bh_domain::keys::key::JsonObject;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::time::Timestamp;
use serde_json::json;

use crate::metrics::CredentialType;

/// Events of one tenant's failures within a minute.
pub const FAILURES_PER_MINUTE_MAX: u32 = 10;
const MINUTE_NS: u64 = Duration::from_secs(60).as_nanos() as u64;

/// A failure that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) code: VerificationError,
    pub(super) of: CredentialType,
    pub(super) key_id: Option<String>,
    pub(super) address: Option<IpAddr>,
    /// Failures of the same minute that are not written.
    pub(super) left_out: u64,
}

impl Sample {
    /// What there is to say beyond the event's columns. Never the credential.
    pub(super) fn detail(&self) -> JsonObject {
        let mut detail = json!({
            "code": self.code.as_str(),
            "credential_type": self.of.as_str(),
            "left_out": self.left_out,
        });
        if let Some(address) = self.address {
            detail["client_address"] = address.to_string().into();
        }
        JsonObject::parse(detail.to_string()).unwrap_or_default()
    }
}

/// One tenant's minute.
#[derive(Debug)]
pub(super) struct Minute {
    begun_ns: u64,
    written: u32,
    last: Option<Sample>,
}

impl Minute {
    pub(super) fn beginning(now_ns: u64) -> Self {
        Self { begun_ns: now_ns, written: 0, last: None }
    }

    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.begun_ns) >= MINUTE_NS
    }

    /// Takes a failure, made only where it is kept; what is to be written now.
    pub(super) fn take(&mut self, sample: impl FnOnce() -> Sample) -> Option<Sample> {
        if self.written + 1 < FAILURES_PER_MINUTE_MAX {
            self.written += 1;
            return Some(sample());
        }
        match &mut self.last {
            Some(last) => last.left_out += 1,
            None => self.last = Some(sample()),
        }
        None
    }

    /// What is still to be written of it.
    pub(super) fn end(self) -> Option<Sample> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        let (code, of) = (VerificationError::NotFound, CredentialType::Imported);
        let address = "10.0.0.1".parse().ok();
        Sample { at: Timestamp(7), code, of, key_id: None, address, left_out: 0 }
    }

    #[test]
    fn a_minute_writes_ten_at_most_and_counts_the_rest_exactly() {
        for (failures, wanted) in
            [(1_u64, (1, 0)), (9, (9, 0)), (10, (10, 0)), (11, (10, 1)), (10_000, (10, 9_990))]
        {
            let mut minute = Minute::beginning(5);
            let mut written: Vec<Sample> = (0..failures).filter_map(|_| minute.take(sample)).collect();
            written.extend(minute.end());
            let left_out = written.iter().map(|sample| sample.left_out).sum::<u64>();
            assert_eq!((written.len(), left_out), wanted, "of {failures}");
        }
    }

    #[test]
    fn a_minute_lasts_a_minute() {
        let minute = Minute::beginning(5);
        assert_eq!(
            (minute.is_over(4), minute.is_over(MINUTE_NS + 4), minute.is_over(MINUTE_NS + 5)),
            (false, false, true)
        );
    }

    #[test]
    fn a_sample_says_what_was_wrong_and_from_where() {
        let told = Sample { left_out: 3, ..sample() }.detail();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(told.as_str()).unwrap(),
            json!({"code": "VERIFICATION_ERROR_NOT_FOUND", "credential_type": "imported", "left_out": 3, "client_address": "10.0.0.1"})
        );
    }
}
