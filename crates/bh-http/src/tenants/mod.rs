//! Tenants as a product (seed 001): what `/api/v1` serves beside tools.

mod audit;

pub(crate) use audit::own as own_audit;
