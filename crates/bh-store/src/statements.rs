//! Every statement, the same text on both databases. The tests prepare each of them on each.

use crate::db::{Bulk, bulk};

/// Declares statements, and lists them all so that no test can forget one.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $($(#[$doc])* pub(crate) const $name: &str = $text;)+
        /// Every statement and its name.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use statements;

/// Declares statements over many rows, and lists them all.
macro_rules! bulk_statements {
    ($($(#[$doc:meta])* $name:ident = $bulk:expr;)+) => {
        $($(#[$doc])* pub(crate) static $name: Bulk = $bulk;)+
        /// Every bulk statement and its name.
        #[cfg(test)]
        pub(crate) static ALL_BULK: &[(&str, &Bulk)] = &[$((stringify!($name), &$name)),+];
    };
}
pub(crate) use bulk_statements;

/// A list of evidence: `$1` caller, `$2` model, `$3` kind of decision, `$4` allowed (each null for any), `$5` limit.
macro_rules! list {
    ($place:literal, $order:literal) => {
        concat!(
            "SELECT nid, seq, at_ms, id, leaf_hash, record, caller, invocation_type, allowed, model, session_id FROM evidence WHERE ",
            $place,
            " AND (caller = $1 OR $1 IS NULL) AND (model = $2 OR $2 IS NULL)",
            " AND (invocation_type = $3 OR $3 IS NULL) AND (allowed = $4 OR $4 IS NULL) ORDER BY ",
            $order,
            " LIMIT $5"
        )
    };
}

/// Sums over the ledger, in the order of `Settled`'s fields.
macro_rules! sums {
    () => {
        "COALESCE(CAST(SUM(calls) AS BIGINT), 0), COALESCE(CAST(SUM(denied) AS BIGINT), 0), \
         COALESCE(CAST(SUM(failed) AS BIGINT), 0), COALESCE(CAST(SUM(input) AS BIGINT), 0), \
         COALESCE(CAST(SUM(output) AS BIGINT), 0), COALESCE(CAST(SUM(cache_read) AS BIGINT), 0), \
         COALESCE(CAST(SUM(cache_write) AS BIGINT), 0), COALESCE(CAST(SUM(reasoning) AS BIGINT), 0), \
         COALESCE(CAST(SUM(cost_nano) AS BIGINT), 0)"
    };
}

/// The rows of callers, and not of sessions or the organisation.
macro_rules! callers {
    () => {
        "substr(owner, 1, 7) = 'caller:'"
    };
}

/// A step through a table of budgets: the rows after one, in the order of its key.
macro_rules! next_budgets {
    () => {
        "WHERE (nid, budget, window_label) > ($1, $2, $3) ORDER BY nid, budget, window_label LIMIT 1 OFFSET $4"
    };
}

/// The rows of a step whose windows are over.
macro_rules! ended_budgets {
    () => {
        "WHERE (nid, budget, window_label) > ($1, $2, $3) AND (nid, budget, window_label) <= ($4, $5, $6) \
         AND window_label <> 'session' \
         AND ((length(window_label) = 10 AND window_label < $7) OR (length(window_label) = 7 AND window_label < $8))"
    };
}

/// The tables of an SQLite file. Only here and below does a text belong to one database.
pub(crate) const TABLES_SQLITE: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'";
/// The tables a PostgreSQL session creates into and reads from.
pub(crate) const TABLES_POSTGRES: &str =
    "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()";
/// The table that remembers migrations.
pub(crate) const CREATE_MIGRATIONS: &str = "CREATE TABLE schema_migrations (nid TEXT NOT NULL, \
    version BIGINT NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_ms BIGINT NOT NULL, \
    PRIMARY KEY (nid, version))";

statements! {
    /// Migrations applied, in order.
    MIGRATIONS_APPLIED = "SELECT version, checksum FROM schema_migrations ORDER BY version";
    /// A migration has been applied.
    REMEMBER_MIGRATION =
        "INSERT INTO schema_migrations (nid, version, name, checksum, applied_ms) VALUES ($1, $2, $3, $4, $5)";

    /// All tenants, by slug.
    TENANTS_EVERYWHERE = "SELECT nid, id FROM tenants ORDER BY id";
    /// A fact about the installation, kept once.
    REMEMBER = "INSERT INTO meta (nid, name, value) VALUES ($1, $2, $3) ON CONFLICT (nid, name) DO NOTHING";
    /// A fact about the installation that changes.
    PROBE = "INSERT INTO meta (nid, name, value) VALUES ($1, $2, $3) \
        ON CONFLICT (nid, name) DO UPDATE SET value = excluded.value";
    /// Takes job `$2`, unless it is taken beyond instant `$4` by another process than `$5`. The value is the instant
    /// until which it is taken, in twenty digits, a slash, and the process.
    CLAIM = "INSERT INTO meta (nid, name, value) VALUES ($1, $2, $3) ON CONFLICT (nid, name) \
        DO UPDATE SET value = excluded.value \
        WHERE CAST(substr(meta.value, 1, 20) AS BIGINT) < $4 OR substr(meta.value, 22) = $5";
    /// What is kept under a name.
    RECALL = "SELECT value FROM meta WHERE nid = $1 AND name = $2";

    /// Every tenant's head.
    HEADS_EVERYWHERE = "SELECT nid, seq, leaf_hash, frontier FROM evidence_heads";
    /// A tenant's records, newest first: `$6` tenant, `$7` from, `$8`/`$9` before this place.
    RECORDS_NEWEST = list!("nid = $6 AND at_ms >= $7 AND (at_ms, seq) < ($8, $9)", "at_ms DESC, seq DESC");
    /// A tenant's records, oldest first: `$6` tenant, `$7` before, `$8`/`$9` after this place.
    RECORDS_OLDEST = list!("nid = $6 AND at_ms < $7 AND (at_ms, seq) > ($8, $9)", "at_ms, seq");
    /// All tenants' records, newest first: `$6` from, `$7`/`$8`/`$9` before this place.
    RECORDS_NEWEST_EVERYWHERE =
        list!("at_ms >= $6 AND (at_ms, nid, seq) < ($7, $8, $9)", "at_ms DESC, nid DESC, seq DESC");
    /// All tenants' records, oldest first: `$6` before, `$7`/`$8`/`$9` after this place.
    RECORDS_OLDEST_EVERYWHERE = list!("at_ms < $6 AND (at_ms, nid, seq) > ($7, $8, $9)", "at_ms, nid, seq");
    /// A session's records, newest first: as everywhere, `$10` session, `$11` tenant or `*`.
    RECORDS_NEWEST_OF_SESSION = list!(
        "session_id = $10 AND (nid = $11 OR $11 = '*') AND at_ms >= $6 AND (at_ms, nid, seq) < ($7, $8, $9)",
        "at_ms DESC, nid DESC, seq DESC"
    );
    /// A session's records, oldest first: as everywhere, `$10` session, `$11` tenant or `*`.
    RECORDS_OLDEST_OF_SESSION = list!(
        "session_id = $10 AND (nid = $11 OR $11 = '*') AND at_ms < $6 AND (at_ms, nid, seq) > ($7, $8, $9)",
        "at_ms, nid, seq"
    );
    /// A record by id: `$2` tenant or `*`.
    RECORD = "SELECT nid, seq, at_ms, id, leaf_hash, record, caller, invocation_type, allowed, model, session_id FROM evidence \
        WHERE id = $1 AND (nid = $2 OR $2 = '*') ORDER BY nid LIMIT 1";
    /// Part of a tenant's chain.
    CHAIN = "SELECT nid, seq, at_ms, id, leaf_hash, record, caller, invocation_type, allowed, model, session_id FROM evidence \
        WHERE nid = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq LIMIT $4";
    /// Leaf hashes of part of a tenant's chain.
    LEAF_HASHES = "SELECT leaf_hash FROM evidence WHERE nid = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq";
    /// Nodes of a tenant's tree.
    NODES = "SELECT hash FROM evidence_nodes WHERE nid = $1 AND level = $2 AND idx >= $3 AND idx <= $4 ORDER BY idx";
    /// A tenant's newest checkpoint.
    CHECKPOINT =
        "SELECT size, note, at_ms FROM evidence_checkpoints WHERE nid = $1 ORDER BY size DESC LIMIT 1";
    /// Sealed contents of a record.
    CONTENTS = "SELECT kind, sealed, key_nid, key_version FROM evidence_contents WHERE nid = $1 AND record_id = $2 ORDER BY kind";
    /// How many records a tenant has since an instant, and how many of them denied.
    COUNTS = "SELECT COUNT(*), COALESCE(CAST(SUM(1 - allowed) AS BIGINT), 0) FROM evidence \
        WHERE nid = $1 AND at_ms >= $2";
    /// How many records there are since an instant, and how many of them denied.
    COUNTS_EVERYWHERE = "SELECT COUNT(*), COALESCE(CAST(SUM(1 - allowed) AS BIGINT), 0) FROM evidence \
        WHERE at_ms >= $1";

    /// How far retention has come in a tenant.
    RETENTION = "SELECT through_ms FROM evidence_retention WHERE nid = $1";
    /// Retention has come this far.
    SET_RETENTION = "INSERT INTO evidence_retention (nid, through_ms) VALUES ($1, $2) \
        ON CONFLICT (nid) DO UPDATE SET through_ms = excluded.through_ms";
    /// Records that retention is to remove: `$2` where it stopped, `$3` before this instant.
    PURGE_PICK = "SELECT seq, at_ms FROM evidence WHERE nid = $1 AND at_ms >= $2 AND at_ms < $3 \
        AND record IS NOT NULL ORDER BY at_ms, seq LIMIT $4";
    /// Removes sealed contents of the records picked: up to place `$3`/`$4`.
    PURGE_CONTENTS = "DELETE FROM evidence_contents WHERE nid = $1 AND record_id IN (SELECT id FROM evidence \
        WHERE nid = $1 AND at_ms >= $2 AND (at_ms, seq) <= ($3, $4) AND record IS NOT NULL)";
    /// Turns the records picked into tombstones.
    PURGE_RECORDS = "UPDATE evidence SET record = NULL, purged_ms = $5 \
        WHERE nid = $1 AND at_ms >= $2 AND (at_ms, seq) <= ($3, $4) AND record IS NOT NULL";

    /// Makes a budget's window if it is not there, locks its row until the transaction's end, and reads it.
    LOCK_WINDOW = "INSERT INTO budget_windows (nid, budget, window_label, committed_nano) VALUES ($1, $2, $3, 0) \
        ON CONFLICT (nid, budget, window_label) DO UPDATE SET committed_nano = budget_windows.committed_nano \
        RETURNING committed_nano";
    /// Sets what is committed in a locked window.
    SET_COMMITTED = "UPDATE budget_windows SET committed_nano = $4 \
        WHERE nid = $1 AND budget = $2 AND window_label = $3";
    /// Adds to what a process was granted.
    ADD_LEASE = "INSERT INTO budget_leases (nid, budget, window_label, holder, granted_nano) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (nid, budget, window_label, holder) \
        DO UPDATE SET granted_nano = budget_leases.granted_nano + excluded.granted_nano";
    /// A change is made, once.
    ADD_CHANGE = "INSERT INTO budget_changes (nid, holder, id, granted_nano) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (nid, holder, id) DO NOTHING";
    /// The answers to changes of process `$2` before `$3` have been heard.
    FORGET_CHANGES = "DELETE FROM budget_changes WHERE nid = $1 AND holder = $2 AND id < $3";
    /// A budget's leases, and whether their processes are dead (`$4` is the system's network id).
    LEASES = "SELECT l.holder, l.granted_nano, COALESCE(h.dead, 0) FROM budget_leases l \
        LEFT JOIN holders h ON h.nid = $4 AND h.holder = l.holder \
        WHERE l.nid = $1 AND l.budget = $2 AND l.window_label = $3";
    /// What each process settled for one owner, over windows `$3..=$4`.
    SETTLED_OF_OWNER = "SELECT holder, CAST(SUM(cost_nano) AS BIGINT) FROM spend \
        WHERE nid = $1 AND owner = $2 AND window_label >= $3 AND window_label <= $4 GROUP BY holder";
    /// What each process settled for all callers of a tenant, over windows `$2..=$3`.
    SETTLED_OF_TENANT = concat!(
        "SELECT holder, CAST(SUM(cost_nano) AS BIGINT) FROM spend \
         WHERE nid = $1 AND window_label >= $2 AND window_label <= $3 AND ", callers!(), " GROUP BY holder"
    );
    /// The leases of one process.
    LEASES_OF_HOLDER = "SELECT nid, budget, window_label FROM budget_leases WHERE holder = $1";
    /// A process has ended in good order.
    DROP_LEASES = "DELETE FROM budget_leases WHERE holder = $1";
    /// A process has ended in good order.
    DROP_HOLDER = "DELETE FROM holders WHERE nid = $1 AND holder = $2";
    /// A process that leases is known, even before it has said that it is alive.
    KNOW_HOLDER = "INSERT INTO holders (nid, holder, seen_ms, dead) VALUES ($1, $2, 0, 0) \
        ON CONFLICT (nid, holder) DO NOTHING";
    /// A process says that it is alive. One that was taken for dead has its leases back.
    HEARTBEAT = "INSERT INTO holders (nid, holder, seen_ms, dead) VALUES ($1, $2, $3, 0) \
        ON CONFLICT (nid, holder) DO UPDATE SET seen_ms = excluded.seen_ms, dead = 0";
    /// Processes other than `$2` that were last seen before `$3` are dead.
    BURY = "UPDATE holders SET dead = 1 WHERE nid = $1 AND holder <> $2 AND seen_ms < $3 AND dead = 0";
    /// Processes that were seen at `$2` or later.
    ALIVE = "SELECT CAST(COUNT(*) AS BIGINT) AS alive FROM holders WHERE nid = $1 AND dead = 0 AND seen_ms >= $2";
    /// The row that comes `$4` rows after the next one in a table of budgets, in the order of its key.
    NEXT_LEASES = concat!("SELECT nid, budget, window_label FROM budget_leases ", next_budgets!());
    NEXT_WINDOWS = concat!("SELECT nid, budget, window_label FROM budget_windows ", next_budgets!());
    /// Removes, of those rows, the ones of days before `$7` and of months before `$8`. A session has no end.
    FORGET_LEASES = concat!("DELETE FROM budget_leases ", ended_budgets!());
    FORGET_WINDOWS = concat!("DELETE FROM budget_windows ", ended_budgets!());
    /// Removes the changes of processes that are dead and were last seen before `$2`.
    FORGET_CHANGES_OF_DEAD = "DELETE FROM budget_changes WHERE nid = $1 AND holder IN (SELECT holder FROM holders \
        WHERE nid = $1 AND dead = 1 AND seen_ms > 0 AND seen_ms < $2)";
    /// Removes those processes, unless they have a lease: what they did not settle of it still counts.
    FORGET_DEAD = "DELETE FROM holders WHERE nid = $1 AND dead = 1 AND seen_ms > 0 AND seen_ms < $2 \
        AND NOT EXISTS (SELECT 1 FROM budget_leases l WHERE l.holder = holders.holder)";

    /// Sums of one owner over windows `$3..=$4`.
    LEDGER_OF_OWNER = concat!(
        "SELECT ", sums!(), " FROM spend WHERE nid = $1 AND owner = $2 AND window_label >= $3 AND window_label <= $4"
    );
    /// Sums of all callers of a tenant over windows `$2..=$3`.
    LEDGER_OF_TENANT = concat!(
        "SELECT ", sums!(), " FROM spend WHERE nid = $1 AND window_label >= $2 AND window_label <= $3 AND ", callers!()
    );
    /// Sums over all tenants, over windows `$1..=$2`, of callers with owner key `$3` or all.
    LEDGER_EVERYWHERE = concat!(
        "SELECT ", sums!(), " FROM spend WHERE window_label >= $1 AND window_label <= $2 AND ", callers!(),
        " AND (owner = $3 OR $3 IS NULL)"
    );
    /// Sums per caller of a tenant over windows `$2..=$3`, of callers with owner key `$4` or all.
    LEDGER_BY_CALLER = concat!(
        "SELECT ", sums!(), ", owner FROM spend WHERE nid = $1 AND window_label >= $2 AND window_label <= $3 AND ",
        callers!(), " AND (owner = $4 OR $4 IS NULL) GROUP BY owner ORDER BY owner"
    );
}

/// Fails on SQLite, by a head that belongs to nobody, unless the statement before it changed `?` rows.
pub(crate) const UNLESS_ADVANCED: &str = "INSERT INTO evidence_heads (nid, from_seq, seq, leaf_hash, frontier) \
     SELECT NULL, 0, 0, x'', x'' WHERE changes() <> ?";

bulk_statements! {
    /// Tenants that are not there yet: network id, slug, instant.
    ENSURE_TENANTS = bulk!(Insert, "INSERT INTO tenants (nid, id, created_ms)", 3, " ON CONFLICT (id) DO NOTHING");
    /// Tenants by slug.
    TENANTS_BY_ID = bulk!(List, "SELECT nid, id FROM tenants WHERE id IN (", 1, ")");
    /// Heads by tenant.
    HEADS = bulk!(List, "SELECT nid, seq, leaf_hash, frontier FROM evidence_heads WHERE nid IN (", 1, ")");
    /// Advances heads that are still where the batch was sealed: tenant, from, to, leaf hash, frontier. A head that
    /// has moved, or is gone, is not counted.
    ADVANCE_HEADS = bulk!(
        List,
        "INSERT INTO evidence_heads (nid, from_seq, seq, leaf_hash, frontier) \
         SELECT v.column1, v.column2, v.column3, v.column4, v.column5 FROM (VALUES ",
        5,
        ") AS v WHERE v.column2 = 0 OR EXISTS (SELECT 1 FROM evidence_heads AS h WHERE h.nid = v.column1) \
         ON CONFLICT (nid) DO UPDATE SET from_seq = excluded.from_seq, seq = excluded.seq, \
         leaf_hash = excluded.leaf_hash, frontier = excluded.frontier WHERE evidence_heads.seq = excluded.from_seq"
    );
    /// Records.
    ADD_RECORDS = bulk!(
        Insert,
        "INSERT INTO evidence (nid, seq, id, at_ms, leaf_hash, caller, invocation_type, allowed, model, session_id, \
         record)",
        11,
        ""
    );
    /// Tree nodes.
    ADD_NODES = bulk!(Insert, "INSERT INTO evidence_nodes (nid, level, idx, hash)", 4, "");
    /// Sealed contents.
    ADD_CONTENTS = bulk!(Insert, "INSERT INTO evidence_contents (nid, record_id, kind, sealed, key_nid, key_version)", 6, "");
    /// Checkpoints; one of the same tenant and size is kept once.
    ADD_CHECKPOINTS = bulk!(
        Insert,
        "INSERT INTO evidence_checkpoints (nid, size, note, at_ms)",
        4,
        " ON CONFLICT (nid, size) DO NOTHING"
    );
    /// Makes budgets' windows that are not there, locks their rows until the transaction's end, and reads them.
    LOCK_WINDOWS = bulk!(
        Insert,
        "INSERT INTO budget_windows (nid, budget, window_label, committed_nano)",
        4,
        " ON CONFLICT (nid, budget, window_label) DO UPDATE SET committed_nano = budget_windows.committed_nano \
         RETURNING nid, budget, window_label, committed_nano"
    );
    /// Commits more in windows, each unless that passes its cap: window, amount, cap.
    TAKE = bulk!(
        List,
        "UPDATE budget_windows SET committed_nano = committed_nano + v.column4 FROM (VALUES ",
        5,
        ") AS v WHERE nid = v.column1 AND budget = v.column2 AND window_label = v.column3 \
         AND committed_nano + v.column4 <= v.column5"
    );
    /// What is committed of windows.
    COMMITTED = bulk!(
        List,
        "SELECT b.nid, b.budget, b.window_label, b.committed_nano FROM (VALUES ",
        3,
        ") AS v JOIN budget_windows AS b ON b.nid = v.column1 AND b.budget = v.column2 AND b.window_label = v.column3"
    );
    /// Leases of windows, and whether their processes are dead: window, system.
    LEASES_OF_WINDOWS = bulk!(
        List,
        "SELECT v.column1, v.column2, v.column3, l.holder, l.granted_nano, COALESCE(h.dead, 0) FROM (VALUES ",
        4,
        ") AS v JOIN budget_leases AS l ON l.nid = v.column1 AND l.budget = v.column2 AND l.window_label = v.column3 \
         LEFT JOIN holders AS h ON h.nid = v.column4 AND h.holder = l.holder"
    );
    /// What each process settled for owners: window, first and last day of it.
    SETTLED_OF_OWNERS = bulk!(
        List,
        "SELECT v.column1, v.column2, v.column3, s.holder, CAST(SUM(s.cost_nano) AS BIGINT) FROM (VALUES ",
        5,
        ") AS v JOIN spend AS s ON s.nid = v.column1 AND s.owner = v.column2 \
         AND s.window_label >= v.column4 AND s.window_label <= v.column5 \
         GROUP BY v.column1, v.column2, v.column3, s.holder"
    );
    /// What each process settled for all callers of tenants: window, first and last day of it.
    SETTLED_OF_TENANTS = bulk!(
        List,
        "SELECT v.column1, v.column2, v.column3, s.holder, CAST(SUM(s.cost_nano) AS BIGINT) FROM (VALUES ",
        5,
        concat!(
            ") AS v JOIN spend AS s ON s.nid = v.column1 \
             AND s.window_label >= v.column4 AND s.window_label <= v.column5 AND ",
            callers!(),
            " GROUP BY v.column1, v.column2, v.column3, s.holder"
        )
    );
    /// Adds to what a process was granted.
    ADD_LEASES = bulk!(
        Insert,
        "INSERT INTO budget_leases (nid, budget, window_label, holder, granted_nano)",
        5,
        " ON CONFLICT (nid, budget, window_label, holder) \
         DO UPDATE SET granted_nano = budget_leases.granted_nano + excluded.granted_nano"
    );
    /// What changes that were made before have granted: system, process, id.
    CHANGES = bulk!(
        List,
        "SELECT c.id, c.granted_nano FROM (VALUES ",
        3,
        ") AS v JOIN budget_changes AS c ON c.nid = v.column1 AND c.holder = v.column2 AND c.id = v.column3"
    );
    /// Changes are made, once each.
    ADD_CHANGES = bulk!(Insert, "INSERT INTO budget_changes (nid, holder, id, granted_nano)", 4, "");
    /// Adds to this process's counters.
    ADD_SPEND = bulk!(
        Insert,
        "INSERT INTO spend (nid, owner, window_label, holder, calls, denied, failed, input, output, cache_read, \
         cache_write, reasoning, cost_nano)",
        13,
        " ON CONFLICT (nid, owner, window_label, holder) DO UPDATE SET calls = spend.calls + excluded.calls, \
         denied = spend.denied + excluded.denied, failed = spend.failed + excluded.failed, \
         input = spend.input + excluded.input, output = spend.output + excluded.output, \
         cache_read = spend.cache_read + excluded.cache_read, cache_write = spend.cache_write + excluded.cache_write, \
         reasoning = spend.reasoning + excluded.reasoning, cost_nano = spend.cost_nano + excluded.cost_nano"
    );
}
