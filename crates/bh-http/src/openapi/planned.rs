//! Operations of the rows that are answered 501 today: they exist, take keys, and say what brings them.

use super::operation::{Chapter, Operation};
use crate::matrix::{Family, MATRIX, Row};

/// HTTP methods that are a different thing to do. HEAD and OPTIONS are as the others.
const TOLD_OF_ALL: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) fn chapter() -> Chapter {
    let text =
        "Routes of later releases. Each authenticates today and then answers 501; its body is not read.";
    let operations = MATRIX.iter().flat_map(|row| match row.answer {
        Family::Later(with) => methods(row).into_iter().map(|method| planned(method, row, with)).collect(),
        Family::Control(_) | Family::Llm(_) => Vec::new(),
    });
    Chapter::new("Planned", text, operations.collect())
}

/// The methods of a row that are described.
pub(super) fn methods(row: &Row) -> Vec<&'static str> {
    if row.methods == "*" { TOLD_OF_ALL.to_vec() } else { row.methods.split(' ').collect() }
}

fn planned(method: &'static str, row: &Row, with: &'static str) -> Operation {
    let path = super::build::plain(row.path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let id: String = words.map(capitalised).collect();
    let method_word = method.to_ascii_lowercase();
    let summary = format!("Comes with {with}");
    let operation = Operation::new(method, &path, &format!("{method_word}{id}"), &summary);
    Operation { arrives_with: Some(with), ..operation }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
