//! Every statement about usage, as in [`crate::statements`].

use crate::db::{Bulk, bulk};
use crate::statements::{bulk_statements, statements};

/// What both tables count, in the order of `UsageSums`.
macro_rules! counts {
    () => {
        "requests, denied, failed, units, input, output, cache_read, cache_write, reasoning, cost_nano, ms_64, \
         ms_128, ms_256, ms_512, ms_1024, ms_2048, ms_4096, ms_8192, ms_16384, ms_32768, ms_65536, ms_more"
    };
}

/// The sums of all but latency.
macro_rules! plain_sums {
    () => {
        "CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(denied) AS BIGINT), CAST(SUM(failed) AS BIGINT), \
         CAST(SUM(units) AS BIGINT), CAST(SUM(input) AS BIGINT), CAST(SUM(output) AS BIGINT), \
         CAST(SUM(cache_read) AS BIGINT), CAST(SUM(cache_write) AS BIGINT), CAST(SUM(reasoning) AS BIGINT), \
         CAST(SUM(cost_nano) AS BIGINT) AS cost_nano"
    };
}

/// The sums of everything counted.
macro_rules! sums {
    () => {
        concat!(
            plain_sums!(),
            ", CAST(SUM(ms_64) AS BIGINT), CAST(SUM(ms_128) AS BIGINT), CAST(SUM(ms_256) AS BIGINT), \
             CAST(SUM(ms_512) AS BIGINT), CAST(SUM(ms_1024) AS BIGINT), CAST(SUM(ms_2048) AS BIGINT), \
             CAST(SUM(ms_4096) AS BIGINT), CAST(SUM(ms_8192) AS BIGINT), CAST(SUM(ms_16384) AS BIGINT), \
             CAST(SUM(ms_32768) AS BIGINT), CAST(SUM(ms_65536) AS BIGINT), CAST(SUM(ms_more) AS BIGINT)"
        )
    };
}

/// Adds to what a row of a table counts already.
macro_rules! add_to {
    ($table:literal) => {
        concat!(
            " DO UPDATE SET requests = ",
            $table,
            ".requests + excluded.requests, denied = ",
            $table,
            ".denied + excluded.denied, failed = ",
            $table,
            ".failed + excluded.failed, units = ",
            $table,
            ".units + excluded.units, input = ",
            $table,
            ".input + excluded.input, output = ",
            $table,
            ".output + excluded.output, cache_read = ",
            $table,
            ".cache_read + excluded.cache_read, cache_write = ",
            $table,
            ".cache_write + excluded.cache_write, reasoning = ",
            $table,
            ".reasoning + excluded.reasoning, cost_nano = ",
            $table,
            ".cost_nano + excluded.cost_nano, ms_64 = ",
            $table,
            ".ms_64 + excluded.ms_64, ms_128 = ",
            $table,
            ".ms_128 + excluded.ms_128, ms_256 = ",
            $table,
            ".ms_256 + excluded.ms_256, ms_512 = ",
            $table,
            ".ms_512 + excluded.ms_512, ms_1024 = ",
            $table,
            ".ms_1024 + excluded.ms_1024, ms_2048 = ",
            $table,
            ".ms_2048 + excluded.ms_2048, ms_4096 = ",
            $table,
            ".ms_4096 + excluded.ms_4096, ms_8192 = ",
            $table,
            ".ms_8192 + excluded.ms_8192, ms_16384 = ",
            $table,
            ".ms_16384 + excluded.ms_16384, ms_32768 = ",
            $table,
            ".ms_32768 + excluded.ms_32768, ms_65536 = ",
            $table,
            ".ms_65536 + excluded.ms_65536, ms_more = ",
            $table,
            ".ms_more + excluded.ms_more"
        )
    };
}

/// Tenant `$1`'s rows: hours `$2..$3`, days `$4..$5`. In one statement, so that a row that is being rolled up is seen
/// once.
macro_rules! of_tenant {
    () => {
        concat!(
            "(SELECT hour / 24 AS day, kind, provider, model, ",
            counts!(),
            " FROM usage_hours WHERE nid = $1 AND hour >= $2 AND hour < $3 UNION ALL \
             SELECT day, kind, provider, model, ",
            counts!(),
            " FROM usage_days WHERE nid = $1 AND day >= $4 AND day < $5) AS u"
        )
    };
}

statements! {
    /// A tenant's usage by day and kind.
    BY_DAY = concat!("SELECT day, kind, ", sums!(), " FROM ", of_tenant!(), " GROUP BY day, kind ORDER BY day, kind");
    /// A tenant's usage by model of a provider, the dearest `$7` of kind `$6`.
    BY_MODEL = concat!(
        "SELECT provider, model, ", plain_sums!(), " FROM ", of_tenant!(), " WHERE kind = $6 \
         GROUP BY provider, model ORDER BY SUM(cost_nano) DESC, SUM(requests) DESC, provider, model LIMIT $7"
    );
    /// How many things of kind `$6` a tenant used.
    DISTINCT = concat!("SELECT COUNT(DISTINCT model) FROM ", of_tenant!(), " WHERE kind = $6");
    /// Every tenant's usage of one provider's models, by day: hours `$1..$2`, days `$3..$4`, provider `$5`.
    BY_MODEL_DAY = concat!(
        "SELECT day, model, ", plain_sums!(), " FROM (SELECT hour / 24 AS day, model, ", counts!(),
        " FROM usage_hours WHERE hour >= $1 AND hour < $2 AND provider = $5 UNION ALL SELECT day, model, ", counts!(),
        " FROM usage_days WHERE day >= $3 AND day < $4 AND provider = $5) AS u GROUP BY day, model ORDER BY day, model"
    );

    /// Where a step of rolling up ends: the row `$2` rows after the oldest one, if it is before hour `$1`.
    NEXT_HOURS = "SELECT hour, nid FROM usage_hours WHERE hour < $1 ORDER BY hour, nid LIMIT 1 OFFSET $2";
    /// Adds the hours up to a place to their days.
    ROLL_UP = concat!(
        "INSERT INTO usage_days (nid, day, kind, caller, provider, model, ", counts!(), ") \
         SELECT nid, hour / 24, kind, caller, provider, model, ", sums!(), " FROM usage_hours \
         WHERE (hour, nid) <= ($1, $2) GROUP BY nid, hour / 24, kind, caller, provider, model \
         ON CONFLICT (nid, day, kind, caller, provider, model)", add_to!("usage_days")
    );
    /// Forgets the hours up to a place.
    FORGET_HOURS = "DELETE FROM usage_hours WHERE (hour, nid) <= ($1, $2)";
    /// Where a step of forgetting ends: the row `$2` rows after the oldest one, if it is before day `$1`.
    NEXT_DAYS = "SELECT day, nid FROM usage_days WHERE day < $1 ORDER BY day, nid LIMIT 1 OFFSET $2";
    /// Nothing before day `$3` is kept any more. A text of a calendar day is as great as its day.
    KEEP_FROM = "INSERT INTO meta (nid, name, value) VALUES ($1, $2, $3) ON CONFLICT (nid, name) \
        DO UPDATE SET value = excluded.value WHERE meta.value < excluded.value";
    /// Forgets the days up to a place.
    FORGET_DAYS = "DELETE FROM usage_days WHERE (day, nid) <= ($1, $2)";
}

bulk_statements! {
    /// Sets what this process has counted. Counts only grow: what is less is older.
    PUT = bulk!(
        Insert,
        concat!("INSERT INTO usage_hours (nid, hour, kind, caller, provider, model, holder, ", counts!(), ")"),
        29,
        " ON CONFLICT (nid, hour, kind, caller, provider, model, holder) DO UPDATE SET requests = excluded.requests, \
         denied = excluded.denied, failed = excluded.failed, units = excluded.units \
         WHERE usage_hours.requests <= excluded.requests"
    );
    /// Adds to this process's counters.
    ADD = bulk!(
        Insert,
        concat!("INSERT INTO usage_hours (nid, hour, kind, caller, provider, model, holder, ", counts!(), ")"),
        29,
        concat!(" ON CONFLICT (nid, hour, kind, caller, provider, model, holder)", add_to!("usage_hours"))
    );
    /// Those of some months that were closed: tenant, and the event that tells of the month's end.
    CLOSED_PERIODS = bulk!(
        List,
        "SELECT c.nid, c.event_id FROM (VALUES ",
        2,
        ") AS v JOIN billing_closed AS c ON c.nid = v.column1 AND c.event_id = v.column2"
    );
}
