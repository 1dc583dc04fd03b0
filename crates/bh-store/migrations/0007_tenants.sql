-- What is known of tenants that were made at run time and not in a file. Settings are a JSON text.

CREATE TABLE tenant_profiles (
    nid TEXT NOT NULL,
    status TEXT NOT NULL,
    settings TEXT NOT NULL,
    api_key_id TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (nid)
);

-- What changed since a process last looked.
CREATE INDEX tenant_profiles_by_change ON tenant_profiles (updated_ms);
-- Whose key it is, where neither host nor header says so.
CREATE INDEX api_keys_by_id ON api_keys (key_id, nid);
