//! Black-box tests: the real binary, over its own doors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot do its part must fail at once, with the place"
)]

mod audit_cli;
mod auth;
mod azure;
mod bad_bodies;
mod bad_input;
mod budgets;
mod config;
mod connections;
mod crash;
mod data_dir;
mod demo;
mod evidence_api;
mod failover;
mod host_doors;
mod hostnames;
mod http2;
mod isolation;
mod keys_addresses;
mod keys_admin;
mod keys_audit;
mod keys_cache;
mod keys_clients;
mod keys_command_line;
mod keys_crash;
mod keys_credits;
mod keys_doors;
mod keys_edge;
mod keys_errors;
mod keys_extras;
mod keys_fences;
mod keys_hashed;
mod keys_identities;
mod keys_imports;
mod keys_program;
mod keys_program_extras;
mod keys_redis;
mod keys_setup;
mod keys_talos;
mod keys_tenants;
mod keys_tokens;
mod keys_verify;
mod leaks;
mod limits;
mod llm_setup;
mod lost_attempts;
mod matrix;
mod money;
mod native;
mod openapi;
mod operations;
mod outages;
mod overlays;
mod proxy;
mod proxy_headers;
mod quickstart;
mod reload;
mod retention;
mod sdk_own;
mod sdks;
mod shared_limits;
mod store_faults;
mod streaming;
mod tenant_limits;
mod tenants;
mod tenants_access;
mod tenants_crash;
mod unmetered;
mod unwritable;
mod usage;
mod usage_cli;
mod vault;
mod vault_crash;
mod vault_masters;
mod vault_setup;
mod verify_setup;
mod webhooks;
mod webhooks_crash;
mod webhooks_events;
mod webhooks_setup;
