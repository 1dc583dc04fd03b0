//! Statements of the sealed store.

use crate::statements::statements;

/// A key's columns.
macro_rules! key {
    () => {
        "nid, version, state, wrapped, master_id, created_ms"
    };
}

/// A secret's columns.
macro_rules! secret {
    () => {
        "nid, name, key_nid, key_version, sealed, metadata, created_ms, updated_ms, revision"
    };
}

statements! {
    /// Version `$2` of a key.
    KEY = concat!("SELECT ", key!(), " FROM data_keys WHERE nid = $1 AND version = $2");
    /// The data key that seals what is sealed now.
    NEWEST_KEY = concat!(
        "SELECT ", key!(), " FROM data_keys WHERE nid = $1 AND version > 0 AND state = 0 ORDER BY version DESC LIMIT 1"
    );
    /// Keys after `$1`/`$2`.
    KEYS_AFTER = concat!(
        "SELECT ", key!(), " FROM data_keys WHERE (nid, version) > ($1, $2) ORDER BY nid, version LIMIT $3"
    );
    /// Keys that master key `$1` wraps.
    KEYS_OF_MASTER =
        concat!("SELECT ", key!(), " FROM data_keys WHERE master_id = $1 ORDER BY nid, version LIMIT $2");
    /// Keys whose secrets are to be sealed anew.
    RETIRING_KEYS =
        "SELECT nid, version FROM data_keys WHERE state = 1 AND nid > '' ORDER BY nid, version LIMIT $1";
    /// The same, of one owner.
    RETIRING_KEYS_OF =
        "SELECT nid, version FROM data_keys WHERE state = 1 AND nid = $1 ORDER BY version LIMIT $2";
    /// A key, unless there is one of that version.
    ADD_KEY = concat!(
        "INSERT INTO data_keys (", key!(), ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (nid, version) DO NOTHING"
    );
    /// A key's successor takes its place.
    RETIRE_KEY = "UPDATE data_keys SET state = 1 WHERE nid = $1 AND version = $2 AND state = 0";
    /// No secret is sealed with a key any more.
    KEY_RETIRED = "UPDATE data_keys SET state = 2 WHERE nid = $1 AND version = $2 AND state = 1 \
        AND NOT EXISTS (SELECT 1 FROM tenant_secrets WHERE key_nid = $1 AND key_version = $2)";
    /// Wraps a key by master key `$5`, if `$3` wraps it still.
    REWRAP = "UPDATE data_keys SET wrapped = $4, master_id = $5 WHERE nid = $1 AND version = $2 AND master_id = $3";

    /// Holds the root key until the transaction ends, if master key `$2` is in force.
    HOLD_MASTER = "UPDATE data_keys SET state = state WHERE nid = $1 AND version = 0 AND master_id = $2";
    /// Holds the root key until the transaction ends.
    HOLD_ROOT = "UPDATE data_keys SET state = state WHERE nid = $1 AND version = 0";
    /// Holds a data key until the transaction ends, if it is a current one.
    HOLD_KEY = "UPDATE data_keys SET state = state WHERE nid = $1 AND version = $2 AND state = 0";
    /// Holds what is known of a tenant until the transaction ends.
    HOLD_TENANT = "UPDATE tenant_profiles SET status = status WHERE nid = $1 RETURNING status";

    /// Secret `$2` of a tenant.
    SECRET = concat!("SELECT ", secret!(), " FROM tenant_secrets WHERE nid = $1 AND name = $2");
    /// A tenant's secrets after `$2`.
    SECRETS = concat!(
        "SELECT ", secret!(), " FROM tenant_secrets WHERE nid = $1 AND name > $2 ORDER BY name LIMIT $3"
    );
    /// All tenants' secrets after `$1`/`$2`.
    SECRETS_EVERYWHERE = concat!(
        "SELECT ", secret!(), " FROM tenant_secrets WHERE (nid, name) > ($1, $2) ORDER BY nid, name LIMIT $3"
    );
    /// Secrets that a data key seals, after `$3`/`$4`.
    SECRETS_OF_KEY = concat!(
        "SELECT ", secret!(), " FROM tenant_secrets WHERE key_nid = $1 AND key_version = $2 AND (nid, name) > ($3, $4) \
         ORDER BY nid, name LIMIT $5"
    );
    /// How many secrets a tenant has beside `$2`.
    OTHER_SECRETS = "SELECT COUNT(*) FROM tenant_secrets WHERE nid = $1 AND name <> $2";
    /// Stores a secret.
    PUT_SECRET = concat!(
        "INSERT INTO tenant_secrets (", secret!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1) \
         ON CONFLICT (nid, name) DO UPDATE SET key_nid = excluded.key_nid, key_version = excluded.key_version, \
         sealed = excluded.sealed, metadata = excluded.metadata, updated_ms = excluded.updated_ms, \
         revision = tenant_secrets.revision + 1 RETURNING revision"
    );
    /// Seals a secret anew that key `$3`/`$4` seals and that has not been stored meanwhile.
    RESEAL = "UPDATE tenant_secrets SET key_nid = $5, key_version = $6, sealed = $7 \
        WHERE nid = $1 AND name = $2 AND key_nid = $3 AND key_version = $4 AND revision = $8";
    /// Removes a secret.
    DELETE_SECRET = "DELETE FROM tenant_secrets WHERE nid = $1 AND name = $2";

    /// Writes over a tenant's data keys, before they are removed.
    OVERWRITE_KEYS = "UPDATE data_keys SET wrapped = $2, master_id = '' WHERE nid = $1";
    /// Removes a tenant's data keys.
    DELETE_KEYS = "DELETE FROM data_keys WHERE nid = $1";
    /// Removes a tenant's secrets.
    DELETE_SECRETS = "DELETE FROM tenant_secrets WHERE nid = $1";
    /// Removes `$1` prompts and answers of deleted tenants.
    FORGET_CONTENTS_OF_DELETED = "DELETE FROM evidence_contents WHERE (nid, record_id, kind) IN ( \
        SELECT c.nid, c.record_id, c.kind FROM tenant_profiles AS p \
        JOIN evidence_contents AS c ON c.nid = p.nid WHERE p.status = 'deleted' AND p.nid > '' LIMIT $1)";
}
