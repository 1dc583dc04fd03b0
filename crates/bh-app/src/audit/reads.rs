//! Lists of a tenant's events.

use std::sync::Arc;

use bh_domain::audit::TrailFilter;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use uuid::Uuid;

use super::view::EventView;
use crate::keys::{KeyStory, PageList, page_size};
use crate::ports::{AuditEvent, AuditStore, StoreFault, TrailOrder};
use crate::snapshot::Tenant;

const LIST: &str = "audit events";

/// Which events, in which order.
#[derive(Clone, Debug, Default)]
pub struct TrailQuery {
    /// The filter, as it was written: page tokens belong to it.
    text: String,
    pub(super) filter: TrailFilter,
    pub(super) order: TrailOrder,
}

impl TrailQuery {
    /// Reads a filter and an order: `create_time desc`, which is the default, or `create_time`.
    ///
    /// # Errors
    /// `invalid_request`, naming the parameter and the place in it.
    pub fn parse(filter: &str, order_by: &str) -> Result<Self, Refusal> {
        let order = match order_by.split_whitespace().collect::<Vec<_>>()[..] {
            [] | ["create_time", "desc"] => TrailOrder::NewestFirst,
            ["create_time"] | ["create_time", "asc"] => TrailOrder::OldestFirst,
            _ => return Err(invalid("order_by", "expected `create_time desc` or `create_time`")),
        };
        let parsed = TrailFilter::parse(filter).map_err(|error| invalid("filter", error))?;
        Ok(Self { text: format!("{order:?}:{filter}"), filter: parsed, order })
    }

    /// What a filter leaves, the newest event first.
    #[must_use]
    pub fn newest(filter: TrailFilter) -> Self {
        let order = TrailOrder::NewestFirst;
        Self { text: format!("{order:?}:{filter:?}"), filter, order }
    }
}

fn invalid(field: &str, problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("`{field}`: {problem}")).with("field", field)
}

/// One page.
#[derive(Debug)]
pub struct TrailPage {
    /// In the order that was asked for.
    pub events: Vec<EventView>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

/// Reads the audit trail of one tenant at a time.
#[derive(Clone)]
pub struct AuditReads {
    pub(super) store: Arc<dyn AuditStore>,
    /// Seals page tokens.
    keys: KeyStory,
}

impl std::fmt::Debug for AuditReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditReads").finish_non_exhaustive()
    }
}

impl AuditReads {
    /// Stories over `store`, whose page tokens `keys` seals for each tenant.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, keys: KeyStory) -> Self {
        Self { store, keys }
    }

    /// A page of a tenant's events. A size below 1 is the default, one above the largest is the largest, as for keys.
    ///
    /// # Errors
    /// `invalid_request` for a page token that is not of this tenant, filter and order; `evidence_unavailable`.
    pub async fn page(
        &self,
        tenant: &Tenant,
        query: &TrailQuery,
        size: i64,
        token: &str,
    ) -> Result<TrailPage, Refusal> {
        let list = PageList { nid: tenant.nid, name: LIST, filter: &query.text };
        let after = self.keys.open_place(tenant, &list, token, |place| Uuid::parse_str(place).ok())?;
        let size = page_size(size);
        // One more than asked for tells whether there is another page.
        let found = self.events(Scope::tenant(tenant.nid), query, after, size + 1).await;
        let mut events = found.map_err(|fault| fault.refusal())?;
        let more = events.len() > size as usize;
        events.truncate(size as usize);
        let last = events.last().filter(|_| more).map(|last| last.id.hyphenated().to_string());
        let next = last.map(|last| self.keys.seal_place(tenant, &list, &last)).transpose()?;
        Ok(TrailPage { events: events.into_iter().map(EventView::of).collect(), next })
    }

    /// A page of the installation's own events. Its cursor is the id of the last event: operators alone see it.
    ///
    /// # Errors
    /// `invalid_request` for a cursor that is none; `evidence_unavailable`.
    pub async fn page_of_installation(
        &self,
        query: &TrailQuery,
        size: u32,
        cursor: &str,
    ) -> Result<TrailPage, Refusal> {
        let after = (!cursor.is_empty()).then(|| Uuid::parse_str(cursor)).transpose();
        let after = after.map_err(|_| invalid("cursor", "not one that this list has given"))?;
        let found = self.events(Scope::tenant(Nid::SYSTEM), query, after, size + 1).await;
        let mut events = found.map_err(|fault| fault.refusal())?;
        let more = events.len() > size as usize;
        events.truncate(size as usize);
        let next = events.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(TrailPage { events: events.into_iter().map(EventView::of).collect(), next })
    }

    pub(super) async fn events(
        &self,
        scope: Scope,
        query: &TrailQuery,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, StoreFault> {
        self.store.audit_events(scope, query.filter.clone(), query.order, after, limit).await
    }
}
