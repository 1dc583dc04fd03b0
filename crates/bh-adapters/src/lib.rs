//! The outside other than SQL: providers over HTTP, and tokenisers.

mod egress;
mod tokens;
mod upstream;

pub use tokens::PublicTokenizers;
pub use upstream::HttpUpstream;
