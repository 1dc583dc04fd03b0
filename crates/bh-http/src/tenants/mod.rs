//! Tenants as a product (seed 001): what `/api/v1` serves beside tools.

mod admin;
mod audit;
mod described;
mod keyless;
mod keys;
mod oauth;
mod sealed;
mod secrets;
mod usage;

pub(crate) use admin::{actor, all, one, reader, resume, rotate_key, suspend, trail};
pub(crate) use audit::{installation as installation_trail, own as own_audit};
pub(crate) use described::{chapter, usage_chapter};
pub(crate) use keyless::show as keyless;
pub(crate) use keys::{all as keys, revoke as revoke_key};
pub(crate) use oauth::credentials;
pub(crate) use sealed::chapter as sealed_chapter;
pub(crate) use secrets::{list as secrets, one as secret, rotate_key as rotate_data_key};
pub(crate) use usage::{metrics_of, month_of, own_metrics, own_month};
