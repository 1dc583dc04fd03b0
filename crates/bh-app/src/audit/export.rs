//! Exports of a tenant's events: any number of them, a page of memory.

use bh_domain::tenant::Scope;
use bh_wire::csv::CsvWriter;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use uuid::Uuid;

use super::reads::{AuditReads, TrailQuery};
use super::view::{COLUMNS, EventView};
use crate::evidence::{Pieces, ReadFault};
use crate::ports::{AuditEvent, StoreFault};
use crate::snapshot::Tenant;

/// Events read, and held in memory, at a time.
const EXPORT_PAGE: u32 = 500;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailFormat {
    /// One object a line, as in lists.
    Ndjson,
    /// RFC 4180 with a header, formulas disarmed.
    Csv,
}

impl TrailFormat {
    /// Every name a form goes by.
    pub const NAMES: &[&str] = &["ndjson", "csv"];

    /// The form of this name; `None` when there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ndjson" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// File name extension, without a dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    fn head(self) -> String {
        match self {
            Self::Ndjson => String::new(),
            Self::Csv => csv([COLUMNS]),
        }
    }

    fn page(self, events: Vec<AuditEvent>) -> Result<String, serde_json::Error> {
        let views: Vec<EventView> = events.into_iter().map(EventView::of).collect();
        match self {
            Self::Csv => Ok(csv(views.iter().map(EventView::cells))),
            Self::Ndjson => {
                let mut text = String::new();
                for view in &views {
                    text.push_str(&serde_json::to_string(view)?);
                    text.push('\n');
                }
                Ok(text)
            }
        }
    }
}

fn unwritable(error: serde_json::Error) -> ReadFault {
    ReadFault::Store(StoreFault { step: "write audit events as text", cause: Box::new(error) })
}

fn csv<'c>(rows: impl IntoIterator<Item = [&'c str; COLUMNS.len()]>) -> String {
    let mut csv = CsvWriter::new();
    rows.into_iter().for_each(|row| csv.row(row));
    csv.take()
}

impl AuditReads {
    /// Every event of a tenant that a query wants, as a document.
    #[must_use]
    pub fn export(&self, tenant: &Tenant, query: TrailQuery, format: TrailFormat) -> Pieces {
        let (reads, scope) = (self.clone(), Scope::tenant(tenant.nid));
        let start = Some(None::<Uuid>);
        let pages = stream::try_unfold(start, move |place| {
            let (reads, scope, query) = (reads.clone(), scope.clone(), query.clone());
            async move {
                let Some(after) = place else { return Ok(None) };
                let events = reads.events(scope, &query, after, EXPORT_PAGE).await?;
                let full = events.len() == EXPORT_PAGE as usize;
                let next = events.last().filter(|_| full).map(|last| Some(last.id));
                let text = format.page(events).map_err(unwritable)?;
                Ok(Some((Bytes::from(text), next)))
            }
        });
        let head = Bytes::from(format.head());
        let pieces = stream::iter([Ok(head)]).chain(pages);
        pieces.filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Bytes::is_empty))).boxed()
    }
}
