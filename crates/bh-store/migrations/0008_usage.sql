-- Usage. `kind` says what is counted: requests at the LLM doors, tools, servers, storage. Hours and days are UTC's, counted
-- from 1970. `ms_64` and on count requests served by how long they took: below so many milliseconds, and not below the
-- one before.

-- One row per process (`holder`), so that processes never wait for each other's counters.
CREATE TABLE usage_hours (
    nid TEXT NOT NULL,
    hour BIGINT NOT NULL,
    kind TEXT NOT NULL,
    caller TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    holder TEXT NOT NULL,
    requests BIGINT NOT NULL,
    denied BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    units BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    ms_64 BIGINT NOT NULL,
    ms_128 BIGINT NOT NULL,
    ms_256 BIGINT NOT NULL,
    ms_512 BIGINT NOT NULL,
    ms_1024 BIGINT NOT NULL,
    ms_2048 BIGINT NOT NULL,
    ms_4096 BIGINT NOT NULL,
    ms_8192 BIGINT NOT NULL,
    ms_16384 BIGINT NOT NULL,
    ms_32768 BIGINT NOT NULL,
    ms_65536 BIGINT NOT NULL,
    ms_more BIGINT NOT NULL,
    PRIMARY KEY (nid, hour, kind, caller, provider, model, holder)
);

-- For what reads every tenant: rolling up, and comparing with what providers charge. Only a row's first batch of the
-- hour pays for it.
CREATE INDEX usage_hours_by_hour ON usage_hours (hour, nid);

-- What hours are rolled up to when they are old.
CREATE TABLE usage_days (
    nid TEXT NOT NULL,
    day BIGINT NOT NULL,
    kind TEXT NOT NULL,
    caller TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    requests BIGINT NOT NULL,
    denied BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    units BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    ms_64 BIGINT NOT NULL,
    ms_128 BIGINT NOT NULL,
    ms_256 BIGINT NOT NULL,
    ms_512 BIGINT NOT NULL,
    ms_1024 BIGINT NOT NULL,
    ms_2048 BIGINT NOT NULL,
    ms_4096 BIGINT NOT NULL,
    ms_8192 BIGINT NOT NULL,
    ms_16384 BIGINT NOT NULL,
    ms_32768 BIGINT NOT NULL,
    ms_65536 BIGINT NOT NULL,
    ms_more BIGINT NOT NULL,
    PRIMARY KEY (nid, day, kind, caller, provider, model)
);

CREATE INDEX usage_days_by_day ON usage_days (day, nid);
