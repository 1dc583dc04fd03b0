-- Whom keys belong to: an identity's keys are those whose actor_id is its external_id. Metadata and limits are JSON texts.

CREATE TABLE identities (
    nid TEXT NOT NULL,
    identity_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    rate_limits TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (nid, identity_id)
);

CREATE UNIQUE INDEX identities_by_external_id ON identities (nid, external_id);
-- A tenant's identities, newest first.
CREATE INDEX identities_by_time ON identities (nid, created_ms, identity_id);
