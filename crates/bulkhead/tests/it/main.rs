//! Black-box tests: the real binary, over its own doors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot do its part must fail at once, with the place"
)]

mod audit_cli;
