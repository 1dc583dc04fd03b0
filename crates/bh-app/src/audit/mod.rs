//! The audit trail: who did what to which object, and which credentials were not good (TALOS-S05).
//!
//! A change writes its own event with its rows. Everything else is told to [`AuditTrail`]; [`AuditReads`] reads both back.

mod anchors;
mod doer;
mod export;
mod follow;
mod provenance;
mod reads;
mod requests;
mod sampler;
mod trail;
mod view;

pub use anchors::{AnchorFault, Anchored, Anchors, FadingPace, check_anchors};
pub(crate) use doer::Doer;
pub use export::{TrailFormat, TrailShape};
pub use follow::Following;
pub use provenance::Provenance;
pub use reads::{AuditReads, TrailPage, TrailQuery};
pub use requests::{RequestNote, STRANGE_KINDS_MAX};
pub use sampler::FAILURES_PER_MINUTE_MAX;
pub use trail::{AuditTrail, Failure};
pub use view::{EventView, SeedView};
