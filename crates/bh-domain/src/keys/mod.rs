//! API keys: their text, their secrets, and the small languages of the key API. All of it pure.

mod base58;
pub mod credits;
pub mod extras;
pub mod filter;
pub mod format;
pub mod identity;
pub mod imported;
pub mod key;
pub mod lifetime;
pub mod mask;
pub mod named;
pub mod overrides;
pub mod permission;
pub mod route;
pub mod secrets;
pub mod syntax;
pub mod token;
pub mod verdict;
