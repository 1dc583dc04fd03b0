//! The doors: routes, credentials, envelopes, the accept loop. No rule is decided here.

mod ask;
mod costs;
mod evidence;
mod health;
mod keys;
mod llm;
mod matrix;
mod object;
mod respond;
mod secrets;
mod serve;
mod status;
mod surface;

pub use ask::Doors;
pub use matrix::{Family, Handler, MATRIX, Router, Row, metrics_router, router};
pub use serve::{Drained, ListenerLimits, serve};
pub use surface::Surface;
