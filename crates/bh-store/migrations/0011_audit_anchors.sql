-- Where the request of an event came from, and the anchor whose evidence record proves the event; none yet where it is
-- NULL (decision 27).
ALTER TABLE audit_events ADD COLUMN origin TEXT NOT NULL DEFAULT '{}';
ALTER TABLE audit_events ADD COLUMN anchor TEXT;

CREATE INDEX audit_events_unanchored ON audit_events (id, nid) WHERE anchor IS NULL;
CREATE INDEX audit_events_by_anchor ON audit_events (anchor, id, nid) WHERE anchor IS NOT NULL;

-- Of all events these alone go, when they are old.
DROP INDEX audit_events_failed;
CREATE INDEX audit_events_fading ON audit_events (id, nid)
    WHERE action IN ('key.verification_failed', 'request.denied', 'request.read');

-- The installation's. `fading` and `open` are 0 or 1: open until its record is known to be written.
CREATE TABLE audit_anchors (
    nid TEXT NOT NULL,
    id TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    fading BIGINT NOT NULL,
    open BIGINT NOT NULL,
    PRIMARY KEY (nid, id)
);

CREATE INDEX audit_anchors_open ON audit_anchors (id) WHERE open = 1;
