//! [`KeylessStore`] on SQL.

use bh_app::ports::{KeylessCaller, KeylessStore, StoreResult};
use bh_domain::tenant::{Nid, Scope};

use crate::SqlStore;
use crate::db::{Row, Value, malformed};

/// Statements about calls without a key.
pub(crate) mod statements {
    use crate::db::{Bulk, bulk};
    use crate::statements::{bulk_statements, statements};

    statements! {
        /// A tenant's.
        KEYLESS = "SELECT nid, address, calls, first_ms, last_ms FROM keyless_callers WHERE nid = $1";
        /// Those of all tenants after one.
        KEYLESS_EVERYWHERE = "SELECT nid, address, calls, first_ms, last_ms FROM keyless_callers WHERE nid > $1";
    }

    bulk_statements! {
        /// Adds to what is counted.
        ADD_KEYLESS = bulk!(
            Insert,
            "INSERT INTO keyless_callers (nid, address, calls, first_ms, last_ms)",
            5,
            " ON CONFLICT (nid, address) DO UPDATE SET calls = keyless_callers.calls + excluded.calls, \
             last_ms = CASE WHEN excluded.last_ms > keyless_callers.last_ms THEN excluded.last_ms \
             ELSE keyless_callers.last_ms END"
        );
    }
}

impl KeylessStore for SqlStore {
    fn add_keyless(&self, scope: Scope, grown: Vec<(Nid, KeylessCaller)>) -> StoreResult<()> {
        self.run("count calls without a key", move |db| async move {
            if scope.nid().is_some() {
                return Ok(());
            }
            let rows: Vec<Value> = grown.iter().flat_map(|(nid, caller)| values(*nid, caller)).collect();
            let mut tx = db.write().await?;
            tx.execute_rows(&statements::ADD_KEYLESS, rows).await?;
            tx.commit().await
        })
    }

    fn keyless(&self, scope: Scope) -> StoreResult<Vec<(Nid, KeylessCaller)>> {
        self.run("read calls without a key", move |db| async move {
            let (text, args) = match scope.nid() {
                Some(nid) => (statements::KEYLESS, vec![nid.into()]),
                None => (statements::KEYLESS_EVERYWHERE, vec![Nid::SYSTEM.into()]),
            };
            db.fetch(&scope, text, args).await?.iter().map(caller).collect()
        })
    }
}

fn values(nid: Nid, caller: &KeylessCaller) -> [Value; 5] {
    let address = caller.address.map(|address| address.to_string()).unwrap_or_default();
    [nid.into(), address.into(), caller.calls.into(), caller.first.into(), caller.last.into()]
}

fn caller(row: &Row) -> Result<(Nid, KeylessCaller), sqlx::Error> {
    let address = row.text(1)?;
    let address = (!address.is_empty()).then(|| address.parse()).transpose();
    let caller = KeylessCaller {
        address: address.map_err(|_| malformed(1, "an address"))?,
        calls: u64::try_from(row.int(2)?).unwrap_or(0),
        first: row.time(3)?,
        last: row.time(4)?,
    };
    Ok((row.nid(0)?, caller))
}
