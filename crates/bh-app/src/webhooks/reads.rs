//! What an operator sees of webhooks, and does about them.

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::webhook::{EventKind, id_from};
use serde_json::value::RawValue;
use serde_json::{Map, json};
use uuid::Uuid;

use super::attempt::{Attempted, Message, attempt};
use super::courier::{Courier, CourierParts};
use super::cursor;
use super::outbox::body;
use super::view::{DeadLetterView, DeliveryView, EndpointView, EventDetail, EventView, TestView};
use crate::audit::{Doer, Provenance};
use crate::ports::{AuditStore, DeliveryState, OutboxFilter, StoredDelivery, StoredEvent};
use crate::snapshot::WebhookEndpoint;

const WHY: &str = "operator";

/// Which events a list wants, and from where.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Of this tenant.
    pub nid: Option<Nid>,
    /// Of this kind, as its word.
    pub kind: Option<String>,
    /// With a delivery in this state, as its word.
    pub state: Option<String>,
    /// Where the page begins; empty for the first.
    pub cursor: String,
    /// At most so many.
    pub limit: u32,
}

/// Part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The newest first.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Who does something, for the audit trail.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Who.
    pub actor: String,
    /// In which role.
    pub role: &'static str,
    /// Where the request came from.
    pub origin: Arc<Provenance>,
}

/// What an operator sees and does.
#[derive(Clone)]
pub struct WebhookReads {
    courier: Courier,
    audit: Arc<dyn AuditStore>,
}

impl std::fmt::Debug for WebhookReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookReads").finish_non_exhaustive()
    }
}

impl WebhookReads {
    /// Reads of what `courier` carries.
    #[must_use]
    pub fn new(courier: Courier, audit: Arc<dyn AuditStore>) -> Self {
        Self { courier, audit }
    }

    fn parts(&self) -> &CourierParts {
        self.courier.parts()
    }

    /// Events, the newest first.
    ///
    /// # Errors
    /// `invalid_request` for a kind, a state or a cursor that is none.
    pub async fn events(&self, query: EventQuery) -> Result<Page<EventView>, Refusal> {
        let filter = OutboxFilter {
            nid: query.nid,
            kind: query.kind.as_deref().map(kind).transpose()?,
            state: query.state.as_deref().map(state).transpose()?,
        };
        let after = cursor::read(&query.cursor)?;
        let found = self.parts().store.outbox_events(Scope::system(WHY), filter, after, query.limit + 1);
        let found = found.await.map_err(|fault| fault.refusal())?;
        let place = |event: &StoredEvent| (event.at, event.id.clone(), String::new());
        let snapshot = self.parts().live.load();
        Ok(page(&found, query.limit, place, |event| EventView::of(&snapshot, event)))
    }

    /// Deliveries that were given up, the newest event's first.
    ///
    /// # Errors
    /// As [`WebhookReads::events`].
    pub async fn dead_letters(
        &self,
        nid: Option<Nid>,
        from: &str,
        limit: u32,
    ) -> Result<Page<DeadLetterView>, Refusal> {
        let after = cursor::read(from)?;
        let found = self.parts().store.dead_letters(Scope::system(WHY), nid, after, limit + 1);
        let found = found.await.map_err(|fault| fault.refusal())?;
        let place = |(letter, _): &(StoredDelivery, String)| {
            (letter.event_at, letter.event_id.clone(), letter.endpoint.clone())
        };
        let snapshot = self.parts().live.load();
        Ok(page(&found, limit, place, |(letter, kind)| DeadLetterView::of(&snapshot, letter, kind)))
    }

    /// One event, what it sends, and what has become of that.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn event(&self, id: &str) -> Result<EventDetail, Refusal> {
        let (event, deliveries) = self.stored(id).await?;
        self.detail(&event, &deliveries)
    }

    /// An event that may be forgotten by now: then what it told, and nothing of its deliveries.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn event_or_told(&self, told: StoredEvent) -> Result<EventDetail, Refusal> {
        let found = self.parts().store.outbox_event(Scope::system(WHY), told.id.clone()).await;
        let found = found.map_err(|fault| fault.refusal())?;
        let (event, deliveries) = found.unwrap_or((told, Vec::new()));
        self.detail(&event, &deliveries)
    }

    fn detail(&self, event: &StoredEvent, deliveries: &[StoredDelivery]) -> Result<EventDetail, Refusal> {
        let payload = RawValue::from_string(event.payload.clone()).map_err(|error| {
            tracing::error!(%error, event = event.id, "the body of an event is no JSON");
            Refusal::new(Code::Internal, "The event's body cannot be read; the log has its id")
        })?;
        let view = EventView::of(&self.parts().live.load(), event);
        Ok(EventDetail {
            event: view,
            payload,
            deliveries: deliveries.iter().map(DeliveryView::from).collect(),
        })
    }

    async fn stored(&self, id: &str) -> Result<(StoredEvent, Vec<StoredDelivery>), Refusal> {
        let found = self.parts().store.outbox_event(Scope::system(WHY), id.to_owned()).await;
        let found = found.map_err(|fault| fault.refusal())?;
        found.ok_or_else(|| Refusal::new(Code::NotFound, "There is no webhook event with this id"))
    }

    /// Has an event delivered again, under its id: to one endpoint, or to all that it was for, delivered or not.
    ///
    /// # Errors
    /// `not_found` for an event or endpoint that is not there; `failed_precondition` when it was for nobody.
    pub async fn redeliver(&self, by: &Operator, id: &str, to: Option<&str>) -> Result<EventDetail, Refusal> {
        let (event, deliveries) = self.stored(id).await?;
        let settings = Arc::clone(&self.parts().live.load().webhooks);
        let endpoints: Vec<String> = match to {
            Some(endpoint) => vec![self.endpoint(endpoint)?.id.clone()],
            None => deliveries.into_iter().map(|delivery| delivery.endpoint).collect(),
        };
        let endpoints: Vec<String> =
            endpoints.into_iter().filter(|id| settings.endpoint(id).is_some()).collect();
        if endpoints.is_empty() {
            let message =
                "No endpoint that is configured was to be told of this event: name one as `endpoint`";
            return Err(Refusal::new(Code::FailedPrecondition, message));
        }
        let detail = json!({ "endpoints": endpoints });
        let again = self.parts().store.redeliver(event.clone(), endpoints, self.parts().clock.now()).await;
        again.map_err(|fault| fault.refusal())?;
        self.note(by, event.nid, "webhook.redelivered", id, &detail).await?;
        self.event(id).await
    }

    /// Every endpoint that is configured, and how it is doing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn endpoints(&self) -> Result<Vec<EndpointView>, Refusal> {
        let snapshot = self.parts().live.load_full();
        let mut views = Vec::with_capacity(snapshot.webhooks.endpoints.len());
        for endpoint in &snapshot.webhooks.endpoints {
            let counts = self.parts().store.endpoint_counts(Scope::system(WHY), endpoint.id.clone()).await;
            let counts = counts.map_err(|fault| fault.refusal())?;
            let healths = self.courier.healths();
            let gone = healths.is_gone(&endpoint.id, snapshot.generation);
            views.push(EndpointView::of(endpoint, counts, healths.of(&endpoint.id), gone));
        }
        Ok(views)
    }

    /// Sends an endpoint a `webhook.test` at once, and says what came of it. It is tried once and kept nowhere.
    ///
    /// # Errors
    /// `not_found` for an endpoint that is not configured.
    pub async fn test(&self, by: &Operator, endpoint: &str) -> Result<TestView, Refusal> {
        let endpoint = self.endpoint(endpoint)?;
        let CourierParts { upstream, clock, live, .. } = self.parts();
        let (begun_ns, now, event_id) = (clock.monotonic_ns(), clock.now(), id_from(Uuid::now_v7()));
        let data = Map::from_iter([("endpoint".to_owned(), endpoint.id.as_str().into())]);
        let payload = body(EventKind::WebhookTest, now, Map::new(), data);
        let message = Message { id: &event_id, payload: &payload };
        let timeout = live.load().webhooks.timeout;
        let attempted = attempt(upstream, &endpoint, message, timeout, now).await;
        let (status, error) = match attempted {
            Attempted::Taken(status) => (Some(status), None),
            Attempted::Failed { status, error, .. } => (status, Some(error)),
            Attempted::Gone => (Some(http::StatusCode::GONE), Some("answered 410".to_owned())),
            Attempted::Forbidden(error) => (None, Some(error)),
        };
        self.note(by, Nid::SYSTEM, "webhook.tested", &endpoint.id, &json!({ "delivered": error.is_none() }))
            .await?;
        let duration_ms = clock.monotonic_ns().saturating_sub(begun_ns) / 1_000_000;
        let status = status.map(|status| status.as_u16());
        Ok(TestView { event_id, delivered: error.is_none(), status, error, duration_ms })
    }

    /// Notes what an operator did in the audit trail of a tenant, or of the installation.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note(
        &self,
        by: &Operator,
        nid: Nid,
        action: &str,
        object: &str,
        detail: &serde_json::Value,
    ) -> Result<(), Refusal> {
        let by = Doer { name: &by.actor, role: by.role, origin: &by.origin };
        let event = by.event(self.parts().clock.as_ref(), action, object, detail);
        let noted = self.audit.append_audit_events(Scope::system(WHY), vec![(nid, event)]).await;
        noted.map_err(|fault| fault.refusal())
    }

    fn endpoint(&self, id: &str) -> Result<Arc<WebhookEndpoint>, Refusal> {
        let found = self.parts().live.load().webhooks.endpoint(id).cloned();
        found.ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                "No webhook endpoint with this id is configured: see `webhooks.endpoints`",
            )
        })
    }
}

/// The first `limit` of what was found, which is one more where there is a next page.
fn page<T, V>(
    found: &[T],
    limit: u32,
    place: impl Fn(&T) -> crate::ports::OutboxPlace,
    view: impl Fn(&T) -> V,
) -> Page<V> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let shown = found.get(..limit).unwrap_or(found);
    let next = shown.last().filter(|_| found.len() > limit).map(|last| cursor::write(&place(last)));
    Page { items: shown.iter().map(view).collect(), next }
}

fn kind(word: &str) -> Result<EventKind, Refusal> {
    EventKind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let known = EventKind::ALL.map(EventKind::as_str).join(", ");
        invalid(&format!("The query parameter `kind` is `{word}`; it must be one of {known}"))
    })
}

fn state(word: &str) -> Result<DeliveryState, Refusal> {
    DeliveryState::parse(word).ok_or_else(|| {
        invalid(&format!("The query parameter `state` is `{word}`; it must be pending, delivered or dead"))
    })
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}
