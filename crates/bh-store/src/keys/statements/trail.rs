//! The audit trail, and what makes it part of the evidence.

use crate::db::{Bulk, bulk};
use crate::statements::{bulk_statements, statements};

/// The columns of an event, in the order of `audit::values`.
macro_rules! event {
    () => {
        "nid, id, at_ms, action, object, actor, role, before_digest, after_digest, detail, \
         origin"
    };
}

/// Whether an event goes with time. As the index of these events has it.
macro_rules! fading {
    () => {
        "action IN ('key.verification_failed', 'request.denied', 'request.read')"
    };
}

/// How an action ended: as [`bh_domain::audit::Outcome::of`] says it.
macro_rules! outcome {
    () => {
        "CASE WHEN action IN ('request.failed', 'config.rejected', 'key.import_failed', 'tools.invoke_failed') THEN 'failed' \
         WHEN action IN ('request.denied', 'key.verification_failed') THEN 'denied' ELSE 'success' END"
    };
}

/// Tenant `$1`'s events between ids `$2` and `$3` and from instant `$4` until before `$5`, at most `$10`: of the action
/// `$6`, of the family of actions `$7`, by actor `$8`, to object `$9`, with the outcome `$11`, each for any where it is empty. `$range` is the range
/// of ids, of an object where one is asked for, and `$order` its order.
macro_rules! trail {
    ($range:literal, $order:literal) => {
        concat!(
            "SELECT ",
            event!(),
            " FROM audit_events WHERE nid = $1 AND ",
            $range,
            " AND at_ms >= $4 AND at_ms < $5 \
             AND ($6 = '' OR action = $6) AND ($7 = '' OR substr(action, 1, length($7)) = $7) \
             AND ($8 = '' OR actor = $8) AND ($11 = '' OR ",
            outcome!(),
            " = $11) ORDER BY ",
            $order,
            " LIMIT $10"
        )
    };
}

statements! {
    /// A tenant's events, newest first: see `trail!`.
    EVENTS_NEWEST = trail!("id > $2 AND id < $3 AND ($9 = '' OR object = $9)", "id DESC");
    /// A tenant's events, oldest first: see `trail!`.
    EVENTS_OLDEST = trail!("id > $2 AND id < $3 AND ($9 = '' OR object = $9)", "id ASC");
    /// What happened to one object, newest first: see `trail!`. Written so that no other index fits.
    EVENTS_NEWEST_OF_OBJECT =
        trail!("(object, id) > ($9, $2) AND (object, id) < ($9, $3)", "object DESC, id DESC");
    /// What happened to one object, oldest first: see `trail!`.
    EVENTS_OLDEST_OF_OBJECT =
        trail!("(object, id) > ($9, $2) AND (object, id) < ($9, $3)", "object ASC, id ASC");
    /// Removes the `$2` oldest events of those that go with time, from before the id `$1`.
    FORGET_FAILURES = concat!(
        "DELETE FROM audit_events WHERE ", fading!(), " AND id < COALESCE((SELECT id FROM audit_events WHERE ",
        fading!(), " AND id < $1 ORDER BY id LIMIT 1 OFFSET $2), $1)"
    );
    /// Gives anchor `$1` to the `$4` oldest events after the id `$2` that have none, of those that go with time (`$3`
    /// is 1) or do not (0).
    ANCHOR_EVENTS = concat!(
        "UPDATE audit_events SET anchor = $1 WHERE anchor IS NULL AND (id, nid) IN (SELECT id, nid FROM audit_events \
         WHERE anchor IS NULL AND id > $2 AND CASE WHEN ", fading!(), " THEN 1 ELSE 0 END = $3 ORDER BY id, nid LIMIT $4)"
    );
    /// The installation's anchor `$2`, made at `$3`, of events that go with time or not.
    ADD_ANCHOR = "INSERT INTO audit_anchors (nid, id, made_ms, fading) VALUES ($1, $2, $3, $4)";
    /// The installation's anchors whose records are not known to be written.
    OPEN_ANCHORS = "SELECT id, made_ms, fading FROM audit_anchors WHERE nid = $1 ORDER BY id";
    /// Anchor `$2` is not open any more.
    CLOSE_ANCHOR = "DELETE FROM audit_anchors WHERE nid = $1 AND id = $2";
    /// The events of anchor `$1`.
    ANCHORED_EVENTS = concat!("SELECT ", event!(), " FROM audit_events WHERE anchor = $1 ORDER BY id, nid");
    /// How many events after the id `$1` have no anchor.
    COUNT_UNANCHORED = "SELECT COUNT(*) FROM audit_events WHERE anchor IS NULL AND id > $1";
    /// All tenants' events after event `$1`, oldest first.
    EVENTS_EVERYWHERE =
        concat!("SELECT ", event!(), " FROM audit_events WHERE id > $1 ORDER BY id, nid LIMIT $2");
}

bulk_statements! {
    /// Events.
    ADD_EVENTS = bulk!(Insert, concat!("INSERT INTO audit_events (", event!(), ")"), 11, "");
    /// Events that are not there yet.
    APPEND_EVENTS =
        bulk!(Insert, concat!("INSERT INTO audit_events (", event!(), ")"), 11, " ON CONFLICT DO NOTHING");
}
