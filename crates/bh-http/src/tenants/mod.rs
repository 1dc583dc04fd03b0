//! Tenants as a product (seed 001): what `/api/v1` serves beside tools.

mod admin;
mod audit;

pub(crate) use admin::{all, one, resume, rotate_key, suspend, trail};
pub(crate) use audit::own as own_audit;
