//! The use cases of Bulkhead, and the ports they need. No SQL, no sockets, no routes.

pub mod audit;
pub mod budgets;
pub mod content;
pub mod costs;
pub mod edge;
pub mod evidence;
pub mod hosts;
pub mod identity;
pub mod keyless;
pub mod keys;
pub mod llm;
pub mod metrics;
pub mod ports;
pub mod rates;
pub mod recorder;
pub mod snapshot;
pub mod status;
pub mod tenants;
pub mod tools;
pub mod usage;
pub mod vault;
pub mod webhooks;
