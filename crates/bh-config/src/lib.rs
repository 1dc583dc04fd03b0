//! The configuration: text in, typed settings out, with the origin of every value.
//!
//! Layers, weakest first: built-in defaults, the YAML file, the environment. A tree that knows where each value was
//! written is checked against the JSON Schema of the types (unknown keys, wrong types, words, ranges), then typed,
//! then checked as a whole. Every problem is reported with its place; no secret is ever shown.
//!
//! Nothing here reads a file, the environment or a clock: [`load`] is given everything in [`Sources`].

mod adopt;
mod check;
mod cross;
mod default_file;
mod duration;
mod env;
mod explain;
mod load;
mod overlay;
mod path;
mod prices;
mod problem;
mod refs;
pub mod schema;
mod secret;
mod shape;
mod tenancy;
#[cfg(test)]
mod tests;
mod text;
mod yaml;

pub use default_file::{default_yaml, json_schema};
pub use env::{ALIASES, Alias, ENV_ADMIN_NAME, Target};
pub use explain::{Explanation, Layer, Say, TENANT_BASES, UnknownSetting};
pub use load::{Inactive, Loaded, Origins, ReadFile, SourceFile, Sources, load, reload};
pub use overlay::KEY_ALIASES;
pub use path::{Path, Step};
pub use prices::{DEFAULT_PRICES_YAML, Prices};
pub use problem::{PROBLEMS_MAX, Problem};
pub use schema::Config;
pub use secret::{MASK, Secret, SecretUrl};
pub use tenancy::{Overlay, Overlays};
pub use text::{
    Cidr, DataTier, GoDuration, HeaderName, Hostname, HttpUrl, Instant, KeyPrefix, Label, ListenAddress,
    Money, NetworkId, TenantId, TimeZoneName,
};
