-- Calls without a key while a migration window is open, by address; the empty address stands for all that are not told
-- apart.
CREATE TABLE keyless_callers (
    nid TEXT NOT NULL,
    address TEXT NOT NULL,
    calls BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (nid, address)
);
