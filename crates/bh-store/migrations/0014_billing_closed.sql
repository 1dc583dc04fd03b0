-- Months that were closed, by the id of the event that told of it. Events go after a while; that a month is closed stays.
CREATE TABLE billing_closed (
    nid TEXT NOT NULL,
    event_id TEXT NOT NULL,
    closed_ms BIGINT NOT NULL,
    PRIMARY KEY (nid, event_id)
);

INSERT INTO billing_closed (nid, event_id, closed_ms)
SELECT nid, id, at_ms FROM outbox_events WHERE kind = 'billing.period_closed';
