//! The doors: routes, credentials, envelopes, the accept loop. No rule is decided here.

mod ask;
mod costs;
mod edge;
mod envelope;
mod evidence;
mod health;
mod keys;
mod llm;
mod masters;
mod matrix;
mod object;
mod openapi;
mod respond;
mod router;
mod secrets;
mod serve;
mod status;
mod surface;
mod tenants;
mod tools;
mod trail;
mod webhooks;

pub use ask::Doors;
pub use edge::{Edge, EdgeHosts, EdgeInside};
pub use matrix::{Family, Handler, MATRIX, Row};
pub use openapi::openapi_document;
pub use router::{Router, metrics_router, router};
pub use serve::{Answers, Drained, ListenerLimits, serve};
pub use surface::Surface;
