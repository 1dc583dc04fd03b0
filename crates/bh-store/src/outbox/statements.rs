//! Statements of the outbox.

use crate::db::{Bulk, bulk};
use crate::statements::{bulk_statements, statements};

/// Columns of an event, in the order of `StoredEvent`.
macro_rules! event {
    () => {
        "e.nid, e.id, e.kind, e.at_ms, e.payload"
    };
}

/// Columns of a delivery, in the order of `StoredDelivery`.
macro_rules! delivery {
    () => {
        "d.nid, d.event_id, d.endpoint, d.at_ms, d.state, d.attempts, d.next_at_ms, d.last_at_ms, d.last_status, d.last_error"
    };
}

/// A list of events: `$1`/`$2` before this place, `$3` kind, `$4` state of one of its deliveries (each empty for any),
/// `$5` limit.
macro_rules! events {
    ($of:literal) => {
        concat!(
            "SELECT ", event!(), " FROM outbox_events e WHERE ", $of, "(e.at_ms, e.id) < ($1, $2) AND ($3 = '' OR e.kind = $3) \
             AND ($4 = '' OR EXISTS (SELECT 1 FROM outbox_deliveries d WHERE d.nid = e.nid AND d.event_id = e.id AND d.state = $4)) \
             ORDER BY e.at_ms DESC, e.id DESC LIMIT $5"
        )
    };
}

statements! {
    /// An event, unless it is there.
    ADD_EVENT = "INSERT INTO outbox_events (nid, id, kind, at_ms, payload) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (nid, id) DO NOTHING";
    /// A period is closed by event `$2`, unless it was before.
    ADD_CLOSED = "INSERT INTO billing_closed (nid, event_id, closed_ms) VALUES ($1, $2, $3) \
        ON CONFLICT (nid, event_id) DO NOTHING";
    /// When a period was closed.
    CLOSED = "SELECT closed_ms FROM billing_closed WHERE nid = $1 AND event_id = $2";
    /// The first delivery that is due.
    DUE = "SELECT 1 FROM outbox_deliveries WHERE endpoint = $1 AND state = 'pending' AND next_at_ms <= $2 LIMIT 1";
    /// Takes what is due at endpoint `$1` at instant `$2`, for process `$3`, until `$4`: at most `$5`.
    TAKE_DUE = "UPDATE outbox_deliveries SET holder = $3, next_at_ms = $4, attempts = attempts + 1 \
        WHERE endpoint = $1 AND state = 'pending' AND next_at_ms <= $2 AND (nid, event_id) IN ( \
        SELECT nid, event_id FROM outbox_deliveries WHERE endpoint = $1 AND state = 'pending' AND next_at_ms <= $2 \
        ORDER BY next_at_ms LIMIT $5) RETURNING nid, event_id, attempts";
    /// What an event's deliveries send.
    PAYLOAD = "SELECT payload FROM outbox_events WHERE nid = $1 AND id = $2";
    /// The end of attempt `$5` of process `$4`.
    END_ATTEMPT = "UPDATE outbox_deliveries SET state = $6, next_at_ms = $7, holder = '', last_at_ms = $8, last_status = $9, \
        last_error = $10 WHERE nid = $1 AND event_id = $2 AND endpoint = $3 AND holder = $4 AND attempts = $5 \
        AND state = 'pending'";
    /// A tenant's events, `$6`.
    EVENTS = events!("e.nid = $6 AND ");
    /// All events.
    EVENTS_EVERYWHERE = events!("");
    /// An event by id, of tenant `$2` or `*`.
    EVENT = concat!("SELECT ", event!(), " FROM outbox_events e WHERE e.id = $1 AND (e.nid = $2 OR $2 = '*') \
        ORDER BY e.nid LIMIT 1");
    /// An event's deliveries.
    DELIVERIES = concat!("SELECT ", delivery!(), " FROM outbox_deliveries d WHERE d.nid = $1 AND d.event_id = $2 \
        ORDER BY d.endpoint");
    /// Dead letters before a place, of tenant `$4` or `*`.
    DEAD_LETTERS = concat!("SELECT ", delivery!(), ", e.kind FROM outbox_deliveries d \
        JOIN outbox_events e ON e.nid = d.nid AND e.id = d.event_id WHERE d.state = 'dead' \
        AND (d.at_ms, d.event_id, d.endpoint) < ($1, $2, $3) AND (d.nid = $4 OR $4 = '*') \
        ORDER BY d.at_ms DESC, d.event_id DESC, d.endpoint DESC LIMIT $5");
    /// Has an event delivered to an endpoint from now on, unless that is being done.
    REDELIVER = "INSERT INTO outbox_deliveries (nid, event_id, endpoint, at_ms, state, attempts, next_at_ms, holder) \
        VALUES ($1, $2, $3, $4, 'pending', 0, $5, '') ON CONFLICT (nid, event_id, endpoint) \
        DO UPDATE SET state = 'pending', attempts = 0, next_at_ms = excluded.next_at_ms \
        WHERE outbox_deliveries.holder = '' OR outbox_deliveries.next_at_ms <= excluded.next_at_ms";
    /// Deliveries of event `$2`, which is no more.
    FORGET_DELIVERY = "DELETE FROM outbox_deliveries WHERE nid = $1 AND event_id = $2";
    /// When the oldest event happened that waits to be delivered.
    OLDEST_PENDING = "SELECT at_ms FROM outbox_deliveries WHERE state = 'pending' ORDER BY at_ms LIMIT 1";
    /// How many dead letters there are: at most `$1`.
    COUNT_DEAD = "SELECT COUNT(*) FROM (SELECT 1 FROM outbox_deliveries WHERE state = 'dead' LIMIT $1) AS found";
    /// How many deliveries of endpoint `$1` are in state `$2`: at most `$3`.
    COUNT_OF_ENDPOINT = "SELECT COUNT(*) FROM (SELECT 1 FROM outbox_deliveries WHERE endpoint = $1 AND state = $2 LIMIT $3) \
        AS found";
    /// Where `$2` events from before `$1` end.
    OLD_EVENTS_END = "SELECT at_ms FROM outbox_events WHERE at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2";
    /// Deliveries of events from before an instant.
    FORGET_DELIVERIES = "DELETE FROM outbox_deliveries WHERE (nid, event_id) IN ( \
        SELECT nid, id FROM outbox_events WHERE at_ms < $1)";
    /// Events from before an instant.
    FORGET_EVENTS = "DELETE FROM outbox_events WHERE at_ms < $1";
}

bulk_statements! {
    /// Deliveries that wait for their first attempt.
    ADD_DELIVERIES = bulk!(
        Insert,
        "INSERT INTO outbox_deliveries (nid, event_id, endpoint, at_ms, state, attempts, next_at_ms, holder)",
        8,
        " ON CONFLICT DO NOTHING"
    );
    /// Events that are not there yet.
    ADD_EVENTS = bulk!(
        Insert,
        "INSERT INTO outbox_events (nid, id, kind, at_ms, payload)",
        5,
        " ON CONFLICT DO NOTHING"
    );
}
