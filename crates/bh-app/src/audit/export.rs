//! Exports of a tenant's events: any number of them, a page of memory.

use bh_domain::tenant::{Nid, Scope};
use bh_wire::csv::CsvWriter;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use uuid::Uuid;

use super::reads::{AuditReads, TrailQuery};
use super::view::{COLUMNS, EventView, SEED_COLUMNS, SeedView};
use crate::evidence::{Pieces, ReadFault};
use crate::ports::{AuditEvent, StoreFault};

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
}

/// In whose words events are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrailShape {
    /// The key server's, as in its lists.
    Keys,
    /// Seed 001's, of the tenant of this name.
    Seed(String),
}

/// A form and a shape.
#[derive(Clone, Debug)]
struct Writing {
    format: TrailFormat,
    shape: TrailShape,
}

impl Writing {
    fn head(&self) -> String {
        match (self.format, &self.shape) {
            (TrailFormat::Ndjson, _) => String::new(),
            (TrailFormat::Csv, TrailShape::Keys) => csv([COLUMNS]),
            (TrailFormat::Csv, TrailShape::Seed(_)) => csv([SEED_COLUMNS]),
        }
    }

    fn page(&self, events: Vec<AuditEvent>) -> Result<String, serde_json::Error> {
        let views = events.into_iter().map(EventView::of);
        match (&self.shape, self.format) {
            (TrailShape::Keys, TrailFormat::Ndjson) => lines(views),
            (TrailShape::Keys, TrailFormat::Csv) => {
                let views: Vec<EventView> = views.collect();
                Ok(csv(views.iter().map(EventView::cells)))
            }
            (TrailShape::Seed(tenant), TrailFormat::Ndjson) => {
                lines(views.map(|view| SeedView::of(tenant, view)))
            }
            (TrailShape::Seed(tenant), TrailFormat::Csv) => {
                let rows: Vec<_> = views.map(|view| SeedView::of(tenant, view).cells()).collect();
                Ok(csv(rows.iter().map(|row| row.each_ref().map(String::as_str))))
            }
        }
    }
}

fn lines<V: serde::Serialize>(views: impl Iterator<Item = V>) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for view in views {
        text.push_str(&serde_json::to_string(&view)?);
        text.push('\n');
    }
    Ok(text)
}

fn unwritable(error: serde_json::Error) -> ReadFault {
    ReadFault::Store(StoreFault { step: "write audit events as text", cause: Box::new(error) })
}

fn csv<'c, const N: usize>(rows: impl IntoIterator<Item = [&'c str; N]>) -> String {
    let mut csv = CsvWriter::new();
    rows.into_iter().for_each(|row| csv.row(row));
    csv.take()
}

impl AuditReads {
    /// Every event of a tenant, or of the installation ([`Nid::SYSTEM`]), that a query wants, as a document.
    #[must_use]
    pub fn export(&self, nid: Nid, query: TrailQuery, format: TrailFormat, shape: TrailShape) -> Pieces {
        let (reads, scope) = (self.clone(), Scope::tenant(nid));
        let writing = Writing { format, shape };
        let head = Bytes::from(writing.head());
        let start = Some(None::<Uuid>);
        let pages = stream::try_unfold(start, move |place| {
            let (reads, scope, query) = (reads.clone(), scope.clone(), query.clone());
            let writing = writing.clone();
            async move {
                let Some(after) = place else { return Ok(None) };
                let events = reads.events(scope, &query, after, EXPORT_PAGE).await?;
                let full = events.len() == EXPORT_PAGE as usize;
                let next = events.last().filter(|_| full).map(|last| Some(last.id));
                let text = writing.page(events).map_err(unwritable)?;
                Ok(Some((Bytes::from(text), next)))
            }
        });
        let pieces = stream::iter([Ok(head)]).chain(pages);
        pieces.filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Bytes::is_empty))).boxed()
    }
}
