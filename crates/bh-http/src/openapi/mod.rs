//! The description of the doors: OpenAPI 3.1, made from the matrix and from the types that are read and written (decision 28).
//!
//! A row of the matrix without an operation, and an operation without a row, fail a test; so does a stale
//! `docs/openapi.json`.

mod build;
mod errors;
mod operation;
mod page;
mod parameters;
mod planned;
mod print;
mod schemas;
mod serve;
#[cfg(test)]
mod tests;

pub(crate) use operation::{Chapter, JSON, Operation, Parameter};
pub(crate) use page::{part, show as page};
pub(crate) use parameters::{choice, count, day, flag, header, instant, number, page_size, path, text};
pub(crate) use schemas::Schemas;
pub(crate) use serve::{knows, show};

use crate::{costs, evidence, health, keys, llm, secrets, status, tenants, tools, webhooks};

/// The document, as `/openapi.json` and `bulkhead openapi` give it.
#[must_use]
pub fn openapi_document() -> String {
    let mut text = String::new();
    print::value(&build::document(&chapters()), 0, &mut text);
    text.push('\n');
    text
}

/// Everything that the doors say of themselves.
fn chapters() -> Vec<Chapter> {
    let mut chapters = vec![
        llm::chapter(),
        tenants::chapter(),
        tenants::usage_chapter(),
        tenants::sealed_chapter(),
        tools::chapter(),
        webhooks::chapter(),
        keys::chapter(),
        keys::credentials_chapter(),
        evidence::chapter(),
        costs::chapter(),
        status::chapter(),
        secrets::chapter(),
        health::chapter(),
        serve::chapter(),
    ];
    chapters.push(planned::chapter());
    chapters
}
