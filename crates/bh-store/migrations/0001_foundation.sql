-- One text for SQLite and PostgreSQL. Types: TEXT ids, BIGINT counts, epoch milliseconds and nano units of currency,
-- BYTEA hashes and sealed bytes, booleans as BIGINT 0 or 1. `nid` comes first in every primary key; the nil UUID
-- stands for the installation itself.

CREATE TABLE tenants (
    nid TEXT NOT NULL,
    id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (nid),
    UNIQUE (id)
);

CREATE TABLE meta (
    nid TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (nid, name)
);

CREATE TABLE evidence (
    nid TEXT NOT NULL,
    seq BIGINT NOT NULL,
    id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    leaf_hash BYTEA NOT NULL,
    caller TEXT NOT NULL,
    invocation_type TEXT NOT NULL,
    allowed BIGINT NOT NULL,
    model TEXT NOT NULL,
    session_id TEXT,
    purged_ms BIGINT,
    record TEXT,
    PRIMARY KEY (nid, seq),
    -- Id first, so that the same index finds a record for a tenant and for an operator; ids grow with time, so
    -- their page stays hot however many tenants write.
    UNIQUE (id, nid)
);

-- Lists of one tenant; `allowed` lets counts be read off the index alone.
CREATE INDEX evidence_by_tenant_time ON evidence (nid, at_ms, seq, allowed);
-- Lists of an operator across tenants. Short, because every record pays for it: records of the same millisecond are
-- sorted when they are read.
CREATE INDEX evidence_by_time ON evidence (at_ms, allowed);
CREATE INDEX evidence_by_session ON evidence (session_id, at_ms, nid, seq) WHERE session_id IS NOT NULL;

-- `from_seq` is the head this one was sealed on: what makes the advance a compare-and-set.
CREATE TABLE evidence_heads (
    nid TEXT NOT NULL,
    from_seq BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    leaf_hash BYTEA NOT NULL,
    frontier BYTEA NOT NULL,
    PRIMARY KEY (nid)
);

CREATE TABLE evidence_nodes (
    nid TEXT NOT NULL,
    level BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (nid, level, idx)
);

CREATE TABLE evidence_checkpoints (
    nid TEXT NOT NULL,
    size BIGINT NOT NULL,
    note TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (nid, size)
);

CREATE TABLE evidence_contents (
    nid TEXT NOT NULL,
    record_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (nid, record_id, kind)
);

-- How far retention has come in each tenant, so that a round never walks over old tombstones.
CREATE TABLE evidence_retention (
    nid TEXT NOT NULL,
    through_ms BIGINT NOT NULL,
    PRIMARY KEY (nid)
);

-- What was settled. `owner` is the budget key of a caller, a session or the organisation; `window_label` a day, or
-- `session`. One row per process (`holder`), so that processes never wait for each other's counters.
CREATE TABLE spend (
    nid TEXT NOT NULL,
    owner TEXT NOT NULL,
    window_label TEXT NOT NULL,
    holder TEXT NOT NULL,
    calls BIGINT NOT NULL,
    denied BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    PRIMARY KEY (nid, owner, window_label, holder)
);

CREATE INDEX spend_by_tenant_window ON spend (nid, window_label);
CREATE INDEX spend_by_window ON spend (window_label);

-- Everything ever granted from a budget in a window and not given back; never above the cap.
CREATE TABLE budget_windows (
    nid TEXT NOT NULL,
    budget TEXT NOT NULL,
    window_label TEXT NOT NULL,
    committed_nano BIGINT NOT NULL,
    PRIMARY KEY (nid, budget, window_label)
);

-- Each process's part of it.
CREATE TABLE budget_leases (
    nid TEXT NOT NULL,
    budget TEXT NOT NULL,
    window_label TEXT NOT NULL,
    holder TEXT NOT NULL,
    granted_nano BIGINT NOT NULL,
    PRIMARY KEY (nid, budget, window_label, holder)
);

CREATE INDEX budget_leases_by_holder ON budget_leases (holder);

CREATE TABLE holders (
    nid TEXT NOT NULL,
    holder TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    dead BIGINT NOT NULL,
    PRIMARY KEY (nid, holder)
);
