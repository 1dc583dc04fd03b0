//! The document against the matrix, and against the one that is checked in.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::Value;

use super::build::{plain, row_of};
use super::{chapters, openapi_document, planned};
use crate::matrix::{MATRIX, METRICS};

/// Set to rewrite the checked-in document instead of comparing it.
const BLESS: &str = "BLESS";

fn document() -> Value {
    serde_json::from_str(&openapi_document()).unwrap()
}

/// Calls `see` with every value below.
fn walk<'v>(value: &'v Value, see: &mut impl FnMut(&'v Value)) {
    see(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        Value::Object(members) => members.values().for_each(|member| walk(member, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_row_of_the_matrix_is_described_in_each_of_its_methods_and_nothing_else_is() {
    let chapters = chapters();
    let operations: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.operations).collect();
    for row in MATRIX.iter().chain([&METRICS]) {
        for method in planned::methods(row) {
            let described = operations.iter().any(|operation| {
                let of_row = row_of(operation).is_some_and(|found| found.path == row.path);
                of_row && operation.method == method
            });
            assert!(described, "no operation is {method} {}", row.path);
        }
    }
    for operation in &operations {
        let row = row_of(operation);
        assert!(row.is_some(), "no row of the matrix is {} {}", operation.method, operation.path);
    }
}

#[test]
fn a_wildcard_of_the_matrix_is_a_plain_parameter() {
    assert_eq!(plain("/v1/proxy/{provider}/{*rest}"), "/v1/proxy/{provider}/{rest}");
}

#[test]
fn every_operation_has_a_name_of_its_own_a_tag_and_an_answer() {
    let document = document();
    let mut names = HashSet::new();
    let paths = document["paths"].as_object().unwrap();
    for (path, method, operation) in paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    }) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} is the name of two operations");
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{method} {path}");
        let answers: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        let planned = operation["x-bulkhead-status"] == "planned";
        let expected = if planned { "501" } else { "200" };
        let expects = |status: &&String| {
            *status == expected || (!planned && ["201", "202", "204", "default"].contains(&status.as_str()))
        };
        assert!(answers.iter().any(expects), "{method} {path}: {answers:?}");
        let parameters = path.matches('{').count();
        let described = operation["parameters"].as_array().into_iter().flatten();
        assert_eq!(described.filter(|parameter| parameter["in"] == "path").count(), parameters, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let mut used = HashSet::new();
    walk(&document, &mut |value| {
        if let Some(Value::String(target)) = value.as_object().and_then(|members| members.get("$ref")) {
            let found = document.pointer(target.trim_start_matches('#'));
            assert!(found.is_some_and(|found| !found.is_null()), "{target} leads nowhere");
            used.insert(target.clone());
        }
    });
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "nothing uses {kind} {name}");
        }
    }
}

#[test]
fn no_type_is_named_as_another_with_a_number_behind_it() {
    for name in document()["components"]["schemas"].as_object().unwrap().keys() {
        let numbered = name.ends_with(|c: char| c.is_ascii_digit());
        assert!(!numbered, "{name}: two types are called alike, rename one of them");
    }
}

#[test]
fn the_document_that_is_checked_in_is_this_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = openapi_document();
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is stale: run the tests once with {BLESS}=1");
}
