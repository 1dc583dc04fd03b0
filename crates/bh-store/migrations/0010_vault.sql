-- The sealed store. What is in `wrapped` and `sealed` is AES-256-GCM: keys under a master key, which is in no database,
-- secrets under a tenant's data key.

-- The nil UUID's version 0 is the installation's root key; `master_id` of that row names the master key in force. Its further
-- versions are the data key of tenants that share one. `state`: 0 current, 1 retiring, 2 retired.
CREATE TABLE data_keys (
    nid TEXT NOT NULL,
    version BIGINT NOT NULL,
    state BIGINT NOT NULL,
    wrapped BYTEA NOT NULL,
    master_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (nid, version)
);

-- What a rotation of the master key has still to do.
CREATE INDEX data_keys_by_master ON data_keys (master_id, nid, version);
-- What a rotation of data keys has still to do.
CREATE INDEX data_keys_retiring ON data_keys (nid, version) WHERE state = 1;

-- `metadata` is a JSON object, and never secret.
CREATE TABLE tenant_secrets (
    nid TEXT NOT NULL,
    name TEXT NOT NULL,
    key_nid TEXT NOT NULL,
    key_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    metadata TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (nid, name)
);

CREATE INDEX tenant_secrets_by_key ON tenant_secrets (key_nid, key_version, nid, name);

-- The data key that seals a prompt or an answer; null where the installation's own key does.
ALTER TABLE evidence_contents ADD COLUMN key_nid TEXT;
ALTER TABLE evidence_contents ADD COLUMN key_version BIGINT;
-- What is left of tenants that were deleted.
CREATE INDEX tenant_profiles_deleted ON tenant_profiles (nid) WHERE status = 'deleted';
