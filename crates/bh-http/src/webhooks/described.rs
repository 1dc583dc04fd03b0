//! What these doors say of themselves.

use bh_app::webhooks::{DeadLetterView, EndpointView, EventDetail, EventView, TestView};
use bh_domain::refusal::Code;

use super::{CloseIn, Closed, LIMIT_DEFAULT, LIMIT_MAX, RedeliverIn};
use crate::envelope::{page_shape, shape};
use crate::openapi::{self, Chapter, Operation, Parameter, Schemas};

const ABOUT: &str = "Events that webhooks are told of, their deliveries, and the closing of a month. Webhooks themselves are \
                     configured in `webhooks`; each delivery is signed as Standard Webhooks says.";

fn page() -> [Parameter; 3] {
    [
        openapi::text("tenant", "Of this tenant, by its slug."),
        openapi::number("limit", "How many a page has.", LIMIT_DEFAULT, LIMIT_MAX),
        openapi::text("cursor", "`metadata.nextCursor` of the page before."),
    ]
}

pub(crate) fn chapter() -> Chapter {
    let base = "/api/v1/admin/webhooks";
    let at = |rest: &str| format!("{base}/{rest}");
    let operations = vec![
        Operation::get(&at("events"), "listWebhookEvents", "List events, the newest first")
            .takes([
                openapi::text("kind", "Of this kind, such as `billing.period_closed`."),
                openapi::choice("state", "With a delivery in this state.", &["pending", "delivered", "dead"]),
            ])
            .takes(page())
            .tells("200", "A page of events.", page_shape::<EventView>)
            .refuses(&[Code::TenantNotFound]),
        Operation::get(&at("events/{id}"), "showWebhookEvent", "Show an event")
            .tells("200", "The event, its body and its deliveries.", shape::<EventDetail>)
            .refuses(&[Code::NotFound]),
        Operation::post(&at("events/{id}/redeliver"), "redeliverWebhookEvent", "Deliver an event again")
            .text("Under the same id, from the first attempt on; to one endpoint, or to all that want it.")
            .reads(Schemas::taken::<RedeliverIn>)
            .tells("202", "It is on its way.", shape::<EventDetail>)
            .refuses(&[Code::Forbidden, Code::NotFound, Code::FailedPrecondition]),
        Operation::get(&at("dead-letters"), "listDeadLetters", "List deliveries that were given up")
            .takes(page())
            .tells("200", "A page of deliveries.", page_shape::<DeadLetterView>)
            .refuses(&[Code::TenantNotFound]),
        Operation::get(&at("endpoints"), "listWebhookEndpoints", "List endpoints and how they are doing")
            .tells("200", "The endpoints, without secrets.", shape::<Vec<EndpointView>>),
        Operation::post(&at("endpoints/{id}/test"), "testWebhookEndpoint", "Send a `webhook.test` at once")
            .tells("200", "What became of it.", shape::<TestView>)
            .refuses(&[Code::Forbidden, Code::NotFound]),
        Operation::post(
            "/api/v1/admin/tenants/{id}/billing/close",
            "closeBillingPeriod",
            "Close a month that is over",
        )
        .text("Once: a month that is closed already answers 200 with the event of its closing.")
        .needs(Schemas::taken::<CloseIn>)
        .tells("201", "It is closed.", shape::<Closed>)
        .tells("200", "It was closed before.", shape::<Closed>)
        .refuses(&[Code::Forbidden, Code::TenantNotFound]),
    ];
    Chapter::new("Webhooks and billing", ABOUT, operations)
}
