//! The audit trail: who did what to which object, and which credentials were not good (TALOS-S05).
//!
//! A change writes its own event with its rows. Everything else is told to [`AuditTrail`]; [`AuditReads`] reads both back.

mod export;
mod reads;
mod sampler;
mod trail;
mod view;

pub use export::TrailFormat;
pub use reads::{AuditReads, TrailPage, TrailQuery};
pub use sampler::FAILURES_PER_MINUTE_MAX;
pub(crate) use trail::VERIFICATION_FAILED;
pub use trail::{AuditTrail, Failure};
pub use view::EventView;
