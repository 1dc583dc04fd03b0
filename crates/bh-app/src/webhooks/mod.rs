//! Webhooks: events are written into the outbox by whoever makes them happen, and carried from there to the endpoints that
//! want them (seed 001, Billing Integration; issue 4 §3).
//!
//! [`Outbox`] makes events, [`Courier`] delivers them, [`BudgetWatch`] and [`PeriodCloser`] notice what no request tells
//! of, [`WebhookReads`] is what an operator sees and does.

mod attempt;
mod billing;
mod courier;
mod cursor;
mod health;
mod outbox;
mod reads;
mod thresholds;
mod view;

pub use billing::{ClosedPeriod, PeriodCloser};
pub use courier::{Courier, CourierParts};
pub use outbox::Outbox;
pub use reads::{EventQuery, Operator, Page, WebhookReads};
pub use thresholds::BudgetWatch;
pub use view::{DeadLetterView, DeliveryView, EndpointView, EventDetail, EventView, TestView};
