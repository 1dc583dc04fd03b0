//! For tests only: fake providers, private databases, and a harness round the real binary.
//!
//! Everything here runs on loopback, ends with the test that started it, and reaches no service outside. Paths of
//! real parts (PostgreSQL, Redis, Python, Node) come from `cargo xtask test`; see [`parts`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot do its part must fail the test at once, with the place"
)]

pub mod browser;
pub mod client;
pub mod gateway;
pub mod headers;
mod http1;
pub mod http2;
pub mod mcp;
pub mod parts;
pub mod postgres;
pub mod provider;
pub mod raw;
pub mod redis;
pub mod sdk;
mod stores;

pub use client::{Answer, Call, Chunk, Streaming};
pub use gateway::{CliOutput, Gateway, GatewayBuilder};
pub use headers::Headers;
pub use http2::{Http2, Http2Answer};
pub use mcp::McpServer;
pub use postgres::{Database, Postgres};
pub use provider::{Ending, FakeProvider, Recorded, Reply, Script, ToolCall, Usage};
pub use raw::RawSocket;
pub use redis::Redis;
pub use stores::{Store, run_scenario};
