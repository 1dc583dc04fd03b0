-- When a key's credits are replaced next; NULL for a key without credits, or whose credits are never replaced.
ALTER TABLE api_keys ADD COLUMN refills_ms BIGINT;
ALTER TABLE imported_api_keys ADD COLUMN refills_ms BIGINT;
