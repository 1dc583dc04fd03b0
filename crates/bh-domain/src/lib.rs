//! The rules of Bulkhead: tenants, money, budgets, limits, refusals, evidence and API keys.
//!
//! Nothing here reads a clock, draws a random number, opens a file or awaits: time, chance and bytes are passed in.

pub mod allowance;
pub mod audit;
pub mod billing;
pub mod budget;
pub mod duration;
pub mod evidence;
pub mod hash;
pub mod hostname;
pub mod keys;
pub mod limit;
pub mod money;
pub mod network;
pub mod price;
pub mod refusal;
pub mod tenant;
pub mod time;
pub mod tools;
pub mod usage;
pub mod webhook;
