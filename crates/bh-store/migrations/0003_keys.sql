-- API keys. Enumerations are stored by number: status 1 active, 2 revoked; visibility 1 secret, 2 public; reasons of a
-- revocation 0 to 4. Scopes, networks, metadata and extras are JSON texts. A key that has expired stays active here.
-- No table refers to another, so that a tenant's rows can be removed by hand in any order.

CREATE TABLE api_keys (
    nid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    actor_id TEXT,
    scopes TEXT NOT NULL,
    metadata TEXT NOT NULL,
    status BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    visibility BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    last_used_ms BIGINT,
    rate_limit_quota BIGINT,
    rate_limit_window_s BIGINT,
    allowed_cidrs TEXT NOT NULL,
    revocation_reason BIGINT,
    revocation_description TEXT,
    request_id TEXT,
    extras TEXT NOT NULL,
    credits BIGINT,
    revision BIGINT NOT NULL,
    token_prefix TEXT,
    version BIGINT NOT NULL,
    secret_digest BYTEA,
    PRIMARY KEY (nid, key_id)
);

-- A tenant's keys, newest first; of one state, with the end in the index for lists of expired keys; of one actor.
CREATE INDEX api_keys_by_time ON api_keys (nid, created_ms, key_id);
CREATE INDEX api_keys_by_status ON api_keys (nid, status, created_ms, key_id, expires_ms);
CREATE INDEX api_keys_by_actor ON api_keys (nid, actor_id, created_ms, key_id, status, expires_ms)
    WHERE actor_id IS NOT NULL;
CREATE UNIQUE INDEX api_keys_by_request ON api_keys (nid, request_id) WHERE request_id IS NOT NULL;

CREATE TABLE imported_api_keys (
    nid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    actor_id TEXT,
    scopes TEXT NOT NULL,
    metadata TEXT NOT NULL,
    status BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    visibility BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    last_used_ms BIGINT,
    rate_limit_quota BIGINT,
    rate_limit_window_s BIGINT,
    allowed_cidrs TEXT NOT NULL,
    revocation_reason BIGINT,
    revocation_description TEXT,
    request_id TEXT,
    extras TEXT NOT NULL,
    credits BIGINT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (nid, key_id)
);

CREATE INDEX imported_api_keys_by_time ON imported_api_keys (nid, created_ms, key_id);
CREATE INDEX imported_api_keys_by_status ON imported_api_keys (nid, status, created_ms, key_id, expires_ms);
CREATE INDEX imported_api_keys_by_actor ON imported_api_keys (nid, actor_id, created_ms, key_id, status, expires_ms)
    WHERE actor_id IS NOT NULL;
CREATE UNIQUE INDEX imported_api_keys_by_request ON imported_api_keys (nid, request_id) WHERE request_id IS NOT NULL;

-- The name that Talos gives the table.
CREATE VIEW issued_api_keys AS
SELECT nid, key_id, name, actor_id, scopes, metadata, status, enabled, visibility, created_ms, updated_ms, expires_ms,
    last_used_ms, rate_limit_quota, rate_limit_window_s, allowed_cidrs, revocation_reason, revocation_description,
    request_id, extras, credits, revision, token_prefix, version, secret_digest
FROM api_keys;

-- How many keys of a tenant are not revoked, in both tables. Changed in the transaction that changes the keys; a row that
-- is missing is counted anew, and so is one that says that a quota is used up.
CREATE TABLE key_counts (
    nid TEXT NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (nid)
);

CREATE TABLE token_denials (
    nid TEXT NOT NULL,
    subject TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (nid, subject)
);

CREATE INDEX token_denials_by_end ON token_denials (until_ms);

CREATE TABLE audit_events (
    nid TEXT NOT NULL,
    id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    before_digest BYTEA,
    after_digest BYTEA,
    detail TEXT NOT NULL,
    PRIMARY KEY (nid, id),
    -- All tenants' events in order of time.
    UNIQUE (id, nid)
);
