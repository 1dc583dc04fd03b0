-- Events on their way to webhooks, and what has become of each delivery. The installation's own have the nil UUID.

CREATE TABLE outbox_events (
    nid TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (nid, id),
    -- An operator names an event without its tenant.
    UNIQUE (id, nid)
);

CREATE INDEX outbox_events_by_tenant_time ON outbox_events (nid, at_ms, id);
CREATE INDEX outbox_events_by_time ON outbox_events (at_ms, id);

-- `state` is pending, delivered or dead. A delivery that a process has taken has that process as its `holder`, and is due
-- again at `next_at_ms`, when its time is over: nobody waits for a process that died.
CREATE TABLE outbox_deliveries (
    nid TEXT NOT NULL,
    event_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at_ms BIGINT NOT NULL,
    holder TEXT NOT NULL,
    last_at_ms BIGINT,
    last_status BIGINT,
    last_error TEXT,
    PRIMARY KEY (nid, event_id, endpoint)
);

-- What is due at an endpoint.
CREATE INDEX outbox_deliveries_due ON outbox_deliveries (endpoint, state, next_at_ms);
-- What waits longest, and what was given up.
CREATE INDEX outbox_deliveries_by_state ON outbox_deliveries (state, at_ms, event_id, endpoint);
