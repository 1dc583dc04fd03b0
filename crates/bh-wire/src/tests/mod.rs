//! Tests that cross modules: whole bodies, whole streams, arbitrary bytes.

mod body;
mod properties;
mod request;
mod sse;
mod stream;
