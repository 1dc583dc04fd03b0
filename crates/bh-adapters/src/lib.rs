//! The outside other than SQL: providers over HTTP, and tokenisers.

mod egress;
mod redis;
mod tokens;
mod upstream;

pub use self::redis::{Redis, RedisCounts, RedisFault, RedisMemory, RedisServer};
pub use tokens::PublicTokenizers;
pub use upstream::HttpUpstream;
