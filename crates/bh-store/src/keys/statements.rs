//! Every statement about keys, as in [`crate::statements`]. The two tables of keys have the same statements.

pub(crate) mod trail;

use crate::db::Bulk;

/// The columns that both tables have, in the order of `row::shared`.
macro_rules! shared {
    () => {
        "nid, key_id, name, actor_id, scopes, metadata, status, enabled, visibility, created_ms, updated_ms, \
         expires_ms, last_used_ms, rate_limit_quota, rate_limit_window_s, allowed_cidrs, revocation_reason, \
         revocation_description, request_id, extras, credits, revision, refills_ms"
    };
}

/// The columns of an identity that are read, in the order of `identities::identity`, of a table or its alias.
macro_rules! identity {
    ($of:literal) => {
        concat!(
            $of,
            "identity_id, ",
            $of,
            "external_id, ",
            $of,
            "metadata, ",
            $of,
            "rate_limits, ",
            $of,
            "created_ms, ",
            $of,
            "updated_ms, ",
            $of,
            "revision"
        )
    };
}

/// Profiles of tenants, in the order of `profiles::profile`.
macro_rules! profile {
    () => {
        "SELECT p.nid, t.id, p.status, p.settings, p.api_key_id, p.created_ms, p.updated_ms, p.revision \
         FROM tenant_profiles AS p JOIN tenants AS t ON t.nid = p.nid"
    };
}

/// How many of tenant `$1`'s keys are not revoked.
macro_rules! live {
    () => {
        "(SELECT COUNT(*) FROM api_keys WHERE nid = $1 AND status = 1) \
         + (SELECT COUNT(*) FROM imported_api_keys WHERE nid = $1 AND status = 1)"
    };
}

/// A list of tenant `$1`'s keys, newest first: `$2`/`$3` before this place, `$4` limit.
macro_rules! list {
    ($table:literal, $more:literal, $which:literal) => {
        concat!(
            "SELECT ",
            shared!(),
            ", ",
            $more,
            " FROM ",
            $table,
            " WHERE nid = $1",
            $which,
            " AND (created_ms, key_id) < ($2, $3) ORDER BY created_ms DESC, key_id DESC LIMIT $4"
        )
    };
}

/// Lists of one table by state: `$5` the actor where one is asked for, then the instant where it matters.
pub(crate) struct Lists {
    pub(crate) any: &'static str,
    pub(crate) active: &'static str,
    pub(crate) revoked: &'static str,
    pub(crate) expired: &'static str,
}

/// The statements of one table of keys.
pub(crate) struct Table {
    pub(crate) keys: &'static Bulk,
    pub(crate) keys_with_identities: &'static Bulk,
    pub(crate) by_request: &'static Bulk,
    pub(crate) add: &'static Bulk,
    pub(crate) state: &'static str,
    pub(crate) credits: &'static str,
    pub(crate) replace: &'static str,
    pub(crate) delete: &'static str,
    pub(crate) touch: &'static Bulk,
    pub(crate) spend: &'static str,
    pub(crate) add_credits: &'static str,
    pub(crate) set_credits: &'static str,
    pub(crate) empty_credits: &'static str,
    pub(crate) lists: Lists,
    pub(crate) lists_of_actor: Lists,
}

/// The credits of a row at `$4`: when a refill is due, `$5`. NULL for a row without credits.
macro_rules! refilled {
    () => {
        "(CASE WHEN credits IS NOT NULL AND refills_ms <= $4 THEN $5 ELSE credits END)"
    };
}

/// When a row's credits are replaced next: `$6` when a refill was due at `$4`.
macro_rules! next_refill {
    () => {
        "CASE WHEN refills_ms <= $4 THEN $6 ELSE refills_ms END"
    };
}

/// Declares the statements of a table: its name, what to insert and to read beyond the columns both have, and how many
/// columns an inserted row has.
macro_rules! key_statements {
    ($table:literal, $added:literal, $read:literal, $columns:literal) => {
        use crate::db::{Bulk, bulk};
        use crate::statements::{bulk_statements, statements};

        statements! {
            /// The stored state of key `$2`, if it is still at revision `$3`.
            STATE = concat!("SELECT status FROM ", $table, " WHERE nid = $1 AND key_id = $2 AND revision = $3");
            /// The credits of a key.
            CREDITS = concat!("SELECT credits, refills_ms FROM ", $table, " WHERE nid = $1 AND key_id = $2");
            /// Replaces what a change may change in key `$2`, if it is still at revision `$3`.
            REPLACE = concat!(
                "UPDATE ", $table, " SET name = $4, actor_id = $5, scopes = $6, metadata = $7, status = $8, \
                 enabled = $9, visibility = $10, updated_ms = $11, expires_ms = $12, rate_limit_quota = $13, \
                 rate_limit_window_s = $14, allowed_cidrs = $15, revocation_reason = $16, \
                 revocation_description = $17, extras = $18, revision = revision + 1 \
                 WHERE nid = $1 AND key_id = $2 AND revision = $3"
            );
            /// Removes a key, and tells in which state it was.
            DELETE = concat!("DELETE FROM ", $table, " WHERE nid = $1 AND key_id = $2 RETURNING status");
            /// Takes `$3` credits at `$4`, if there are as many, and tells what is left. Refilled first, when that is due:
            /// to `$5`, and next at `$6`.
            SPEND = concat!(
                "UPDATE ", $table, " SET credits = ", refilled!(), " - $3, refills_ms = ", next_refill!(),
                " WHERE nid = $1 AND key_id = $2 AND ", refilled!(), " >= $3 RETURNING credits"
            );
            /// Adds `$3` credits at `$4`, refilled first as above; not below none, and not above `$7`. To a key that is
            /// still at revision `$8`.
            ADD_CREDITS = concat!(
                "UPDATE ", $table, " SET credits = CASE WHEN ", refilled!(), " + $3 < 0 THEN 0 ELSE ", refilled!(),
                " + $3 END, refills_ms = ", next_refill!(),
                " WHERE nid = $1 AND key_id = $2 AND ", refilled!(), " + $3 <= $7 AND revision = $8"
            );
            /// Sets the credits of a key that is still at revision `$5`, and when they are replaced next.
            SET_CREDITS = concat!(
                "UPDATE ", $table, " SET credits = $3, refills_ms = $4 WHERE nid = $1 AND key_id = $2 AND revision = $5"
            );
            /// Leaves a key without a use, for good.
            EMPTY_CREDITS = concat!(
                "UPDATE ", $table, " SET credits = 0, refills_ms = NULL WHERE nid = $1 AND key_id = $2"
            );

            /// Keys of any state.
            NEWEST = list!($table, $read, "");
            /// Keys active at `$5`.
            NEWEST_ACTIVE = list!($table, $read, " AND status = 1 AND (expires_ms IS NULL OR expires_ms > $5)");
            /// Revoked keys.
            NEWEST_REVOKED = list!($table, $read, " AND status = 2");
            /// Keys expired at `$5`.
            NEWEST_EXPIRED = list!($table, $read, " AND status = 1 AND expires_ms <= $5");
            /// Keys of actor `$5`. Here and below, the sign keeps a state from being looked up instead of the actor.
            NEWEST_OF_ACTOR = list!($table, $read, " AND actor_id = $5");
            /// Keys of actor `$5` active at `$6`.
            NEWEST_ACTIVE_OF_ACTOR = list!(
                $table, $read, " AND actor_id = $5 AND +status = 1 AND (expires_ms IS NULL OR expires_ms > $6)"
            );
            /// Revoked keys of actor `$5`.
            NEWEST_REVOKED_OF_ACTOR = list!($table, $read, " AND actor_id = $5 AND +status = 2");
            /// Keys of actor `$5` expired at `$6`.
            NEWEST_EXPIRED_OF_ACTOR =
                list!($table, $read, " AND actor_id = $5 AND +status = 1 AND expires_ms <= $6");
        }

        bulk_statements! {
            /// Keys by tenant and id.
            KEYS = bulk!(
                List,
                concat!(
                    "SELECT ", shared!(), ", ", $read, " FROM ", $table, " WHERE (nid, key_id) IN (VALUES "
                ),
                2,
                ")"
            );
            /// Keys by tenant and id, each with the identity that its actor names.
            KEYS_WITH_IDENTITIES = bulk!(
                List,
                concat!(
                    "SELECT k.*, ", identity!("i."), " FROM (SELECT ", shared!(), ", ", $read, " FROM ", $table,
                    " WHERE (nid, key_id) IN (VALUES "
                ),
                2,
                ")) AS k LEFT JOIN identities AS i ON i.nid = k.nid AND i.external_id = k.actor_id"
            );
            /// Keys by tenant and the request that made them. The first condition admits the index, which only has
            /// such keys.
            BY_REQUEST = bulk!(
                List,
                concat!(
                    "SELECT ", shared!(), ", ", $read, " FROM ", $table,
                    " WHERE request_id IS NOT NULL AND (nid, request_id) IN (VALUES "
                ),
                2,
                ")"
            );
            /// Keys that are not there yet.
            ADD = bulk!(
                Insert,
                concat!("INSERT INTO ", $table, " (", shared!(), $added, ")"),
                $columns,
                " ON CONFLICT DO NOTHING"
            );
            /// Keys that were used: tenant, id, instant. Only a later day is remembered.
            TOUCH = bulk!(
                List,
                concat!("UPDATE ", $table, " SET last_used_ms = v.column3 FROM (VALUES "),
                3,
                concat!(
                    ") AS v WHERE ", $table, ".nid = v.column1 AND ", $table, ".key_id = v.column2 AND (",
                    $table, ".last_used_ms IS NULL OR ", $table,
                    ".last_used_ms / 86400000 < v.column3 / 86400000)"
                )
            );
        }

        pub(crate) static TABLE: super::Table = super::Table {
            keys: &KEYS,
            keys_with_identities: &KEYS_WITH_IDENTITIES,
            by_request: &BY_REQUEST,
            add: &ADD,
            state: STATE,
            credits: CREDITS,
            replace: REPLACE,
            delete: DELETE,
            touch: &TOUCH,
            spend: SPEND,
            add_credits: ADD_CREDITS,
            set_credits: SET_CREDITS,
            empty_credits: EMPTY_CREDITS,
            lists: super::Lists {
                any: NEWEST,
                active: NEWEST_ACTIVE,
                revoked: NEWEST_REVOKED,
                expired: NEWEST_EXPIRED,
            },
            lists_of_actor: super::Lists {
                any: NEWEST_OF_ACTOR,
                active: NEWEST_ACTIVE_OF_ACTOR,
                revoked: NEWEST_REVOKED_OF_ACTOR,
                expired: NEWEST_EXPIRED_OF_ACTOR,
            },
        };
    };
}

/// Keys that were minted here.
pub(crate) mod issued {
    key_statements!(
        "api_keys",
        ", token_prefix, version, secret_digest",
        "token_prefix, version, secret_digest",
        26
    );
}

/// Keys that were brought along.
pub(crate) mod imported {
    key_statements!("imported_api_keys", "", "NULL, CAST(0 AS BIGINT), NULL", 23);
}

/// Whom keys belong to.
pub(crate) mod identities {
    use crate::statements::statements;

    statements! {
        /// Identity `$2` of a tenant.
        IDENTITY = concat!("SELECT ", identity!(""), " FROM identities WHERE nid = $1 AND identity_id = $2");
        /// The identity that a tenant calls `$2`.
        IDENTITY_CALLED = concat!("SELECT ", identity!(""), " FROM identities WHERE nid = $1 AND external_id = $2");
        /// A tenant's identities, newest first: `$2`/`$3` before this place, `$4` limit.
        NEWEST = concat!(
            "SELECT ", identity!(""), " FROM identities WHERE nid = $1 AND (created_ms, identity_id) < ($2, $3) \
             ORDER BY created_ms DESC, identity_id DESC LIMIT $4"
        );
        /// An identity, unless its tenant has one that is called the same.
        ADD = concat!(
            "INSERT INTO identities (nid, ", identity!(""),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING"
        );
        /// Replaces what a change may change in identity `$2`, if it is still at revision `$3`.
        REPLACE = "UPDATE identities SET metadata = $4, rate_limits = $5, updated_ms = $6, revision = revision + 1 \
            WHERE nid = $1 AND identity_id = $2 AND revision = $3";
        /// Removes an identity.
        DELETE = "DELETE FROM identities WHERE nid = $1 AND identity_id = $2";
    }
}

/// Tenants that were made at run time.
pub(crate) mod profiles {
    use crate::db::{Bulk, bulk};
    use crate::statements::{bulk_statements, statements};

    statements! {
        /// The profile of a tenant.
        PROFILE = concat!(profile!(), " WHERE p.nid = $1");
        /// Profiles that changed at instant `$1` or later, of network ids after `$2`, `$3` limit.
        CHANGED_SINCE = concat!(profile!(), " WHERE p.updated_ms >= $1 AND p.nid > $2 ORDER BY p.nid LIMIT $3");
        /// Replaces a profile, if it is still at revision `$2`.
        REPLACE = "UPDATE tenant_profiles SET status = $3, settings = $4, api_key_id = $5, updated_ms = $6, \
            revision = revision + 1 WHERE nid = $1 AND revision = $2";
        /// A tenant's host names.
        HOSTS = "SELECT hostname FROM tenant_hostnames WHERE nid = $1 ORDER BY hostname";
        /// Gives back a host name of a tenant's.
        RELEASE_HOST = "DELETE FROM tenant_hostnames WHERE nid = $1 AND hostname = $2";
        /// Takes a host name, unless it is another tenant's.
        TAKE_HOST = "INSERT INTO tenant_hostnames (nid, hostname) VALUES ($1, $2) ON CONFLICT (hostname) DO NOTHING";
    }

    bulk_statements! {
        /// Whose issued keys these are.
        OWNERS_OF_KEYS = bulk!(List, "SELECT key_id, nid FROM api_keys WHERE key_id IN (", 1, ")");
        /// Profiles of tenants that have none.
        ADD_NEW = bulk!(
            Insert,
            "INSERT INTO tenant_profiles (nid, status, settings, api_key_id, created_ms, updated_ms, revision)",
            7,
            " ON CONFLICT (nid) DO NOTHING"
        );
        /// Host names that nobody has.
        TAKE_HOSTS =
            bulk!(Insert, "INSERT INTO tenant_hostnames (nid, hostname)", 2, " ON CONFLICT (hostname) DO NOTHING");
        /// How many live keys tenants have that had none.
        COUNT_NEW = bulk!(Insert, "INSERT INTO key_counts (nid, live)", 2, " ON CONFLICT (nid) DO NOTHING");
    }
}

/// What belongs to no table of keys.
pub(crate) mod beside {
    use crate::statements::statements;

    statements! {
        /// Adds to a tenant's number of live keys, and holds its row until the transaction ends. No row: it is to be
        /// counted first.
        ADD_LIVE = "UPDATE key_counts SET live = live + $2 WHERE nid = $1 RETURNING live";
        /// Counts a tenant's live keys for the first time.
        COUNT_FIRST = concat!(
            "INSERT INTO key_counts (nid, live) SELECT $1, ", live!(), " WHERE true ON CONFLICT (nid) DO NOTHING"
        );
        /// How many live keys a tenant has, as noted.
        LIVE = "SELECT live FROM key_counts WHERE nid = $1";
        /// How many live keys a tenant has.
        COUNT_LIVE = concat!("SELECT ", live!());
        /// Both, in one state.
        COMPARE_LIVE = concat!("SELECT live, ", live!(), " FROM key_counts WHERE nid = $1");
        /// Notes `$3` live keys where `$2` were noted.
        CORRECT_LIVE = "UPDATE key_counts SET live = $3 WHERE nid = $1 AND live = $2";

        /// Denies a subject until an instant, or longer if it was denied for longer.
        DENY = "INSERT INTO token_denials (nid, subject, until_ms) VALUES ($1, $2, $3) ON CONFLICT (nid, subject) \
            DO UPDATE SET until_ms = excluded.until_ms WHERE token_denials.until_ms < excluded.until_ms";
        /// Denials that end after an instant.
        DENIALS_EVERYWHERE = "SELECT nid, subject, until_ms FROM token_denials WHERE until_ms > $1";
        /// Removes denials that ended before an instant.
        FORGET_DENIALS = "DELETE FROM token_denials WHERE until_ms < $1";
    }
}
