//! Bytes to meaning and back, for every dialect Bulkhead speaks. No I/O, no async, no clock.
//!
//! The rule of this room: **bytes that no policy changed leave exactly as they came**. Requests are read in one pass
//! and edited by splicing ([`request`], [`edit`]); streams are watched, never re-emitted ([`sse`], [`stream`]).
//!
//! | module | reads or writes |
//! |---|---|
//! | [`family`] | which dialect a provider speaks, which endpoint a path names |
//! | [`request`], [`edit`], [`prompt`] | the request body: facts, span-preserving edits, text to tokenise |
//! | [`sse`], [`stream`] | server-sent events, and what a stream tells while it passes |
//! | [`body`], [`usage`] | a plain JSON answer in constant memory, and token counts in one normal form |
//! | [`mcp`] | JSON-RPC with a tenant's MCP servers |
//! | [`errors`], [`headers`], [`ratelimit`], [`csv`] | envelopes, header policy, limit headers, exports |

#![forbid(unsafe_code)]

mod bad_request;
pub mod body;
pub mod csv;
pub mod edit;
pub mod errors;
pub mod family;
pub mod headers;
mod json;
pub mod mcp;
mod meter;
pub mod prompt;
pub mod ratelimit;
pub mod request;
pub mod sse;
pub mod stream;
mod tools;
pub mod usage;
mod walk;

#[cfg(test)]
mod tests;

pub use bad_request::{BadRequest, Problem};
pub use family::{Endpoint, Family};
pub use usage::Usage;
