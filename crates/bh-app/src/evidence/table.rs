//! Rows of records as CSV, JSON or NDJSON, page by page.

use std::sync::Arc;

use bh_domain::tenant::Scope;
use bh_wire::csv::CsvWriter;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;

use super::list::position;
use super::{Pieces, ReadFault};
use crate::ports::{EvidenceFilter, EvidenceStore, StoredRecord};

/// Records read, and held in memory, at a time.
const EXPORT_PAGE: u32 = 500;
/// Between the values of a list in one CSV cell.
const CELL_SEPARATOR: &str = "; ";

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// RFC 4180 with a header, formulas disarmed.
    Csv,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
}

/// Which columns a table has, and what a record says in each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Names, in order.
    pub(crate) columns: &'static [&'static str],
    /// The values of one record, in the order of the columns.
    pub(crate) row: fn(&StoredRecord) -> Vec<Value>,
}

/// Pages of records that pass `filter`, newest first, `limit` records in all. Nothing is read ahead.
pub(crate) fn pages(
    store: Arc<dyn EvidenceStore>,
    scope: Scope,
    filter: EvidenceFilter,
    limit: u32,
) -> BoxStream<'static, Result<Vec<StoredRecord>, ReadFault>> {
    let start = (filter, limit);
    stream::try_unfold(start, move |(mut filter, left)| {
        let (store, scope) = (Arc::clone(&store), scope.clone());
        async move {
            filter.limit = left.min(EXPORT_PAGE);
            if filter.limit == 0 {
                return Ok(None);
            }
            let page = store.records(scope, filter.clone()).await?;
            let Some(last) = page.last() else { return Ok(None) };
            filter.after = Some(position(last));
            let full = page.len() == filter.limit as usize;
            let read = u32::try_from(page.len()).unwrap_or(left);
            let left = if full { left.saturating_sub(read) } else { 0 };
            Ok(Some((page, (filter, left))))
        }
    })
    .boxed()
}

/// The table of the records on `pages`.
pub(crate) fn written(
    table: Table,
    format: TableFormat,
    pages: BoxStream<'static, Result<Vec<StoredRecord>, ReadFault>>,
) -> Pieces {
    let mut first = true;
    let body = pages.map(move |page| {
        let text = page.map(|page| rows(table, format, &page, first));
        first = false;
        text.map(Bytes::from)
    });
    let edge = |text: String| stream::iter((!text.is_empty()).then(|| Ok(Bytes::from(text))));
    edge(head(table, format)).chain(body).chain(edge(tail(format))).boxed()
}

fn head(table: Table, format: TableFormat) -> String {
    match format {
        TableFormat::Csv => {
            let mut csv = CsvWriter::new();
            csv.row(table.columns);
            csv.take()
        }
        TableFormat::Json => "[".to_owned(),
        TableFormat::Ndjson => String::new(),
    }
}

fn tail(format: TableFormat) -> String {
    match format {
        TableFormat::Csv | TableFormat::Ndjson => String::new(),
        TableFormat::Json => "\n]\n".to_owned(),
    }
}

fn rows(table: Table, format: TableFormat, page: &[StoredRecord], first_page: bool) -> String {
    let mut text = String::new();
    let mut csv = CsvWriter::new();
    for (number, stored) in page.iter().enumerate() {
        let values = (table.row)(stored);
        match format {
            TableFormat::Csv => csv.row(values.iter().map(cell)),
            TableFormat::Json => {
                text.push_str(if first_page && number == 0 { "\n" } else { ",\n" });
                text.push_str(&object(table, values));
            }
            TableFormat::Ndjson => {
                text.push_str(&object(table, values));
                text.push('\n');
            }
        }
    }
    text.push_str(&csv.take());
    text
}

fn object(table: Table, values: Vec<Value>) -> String {
    let members = table.columns.iter().map(|name| (*name).to_owned()).zip(values);
    Value::Object(members.collect()).to_string()
}

/// A value as a cell: texts bare, lists joined, nothing as nothing.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(CELL_SEPARATOR),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
