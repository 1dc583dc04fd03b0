//! [`TenantStore`] on SQL.

use bh_app::ports::{Connections, Holder, StoreResult, TenantRow, TenantStore};
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;

use crate::db::{Row, Value, uuid_text};
use crate::{SqlStore, migrate, now, purge, statements};

/// Digits of the instant until which a job is claimed; its process follows after a slash (`statements::CLAIM`).
const CLAIM_DIGITS: usize = 20;

/// Tenants that are made sure of in one go: a row as the driver gives it takes half a KiB.
const TENANTS_AT_ONCE: usize = 256;

/// A database whose schema is not ours any more: another program has migrated it meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("the schema version is {found:?}, not {}", migrate::VERSION)]
struct WrongVersion {
    found: Option<i64>,
}

impl TenantStore for SqlStore {
    fn ensure_tenants(&self, proposed: Vec<TenantRow>) -> StoreResult<Vec<TenantRow>> {
        self.run("make sure of tenants", |db| async move {
            let mut proposed = proposed;
            // One order for all replicas, so that racing inserts never wait in a circle.
            proposed.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            let created = now();
            let row = |tenant: &TenantRow| -> [Value; 3] {
                [tenant.nid.into(), tenant.id.as_str().into(), created.into()]
            };
            let mut found = Vec::with_capacity(proposed.len());
            let mut tx = db.write().await?;
            for part in proposed.chunks(TENANTS_AT_ONCE) {
                tx.execute_rows(&statements::ENSURE_TENANTS, part.iter().flat_map(row).collect()).await?;
                let ids = part.iter().map(|tenant| tenant.id.as_str().into()).collect();
                for row in tx.fetch_rows(&statements::TENANTS_BY_ID, ids).await? {
                    found.push(tenant(&row)?);
                }
            }
            tx.commit().await?;
            Ok(found)
        })
    }

    fn tenants_everywhere(&self, scope: Scope) -> StoreResult<Vec<TenantRow>> {
        self.run("list tenants", |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            db.fetch(&scope, statements::TENANTS_EVERYWHERE, Vec::new()).await?.iter().map(tenant).collect()
        })
    }

    fn remember(&self, name: &'static str, value: String) -> StoreResult<String> {
        self.run("remember a fact", move |db| async move {
            let mut tx = db.write().await?;
            tx.execute(statements::REMEMBER, vec![Nid::SYSTEM.into(), name.into(), value.into()]).await?;
            let rows = tx.fetch(statements::RECALL, vec![Nid::SYSTEM.into(), name.into()]).await?;
            let kept = rows.first().ok_or(sqlx::Error::RowNotFound)?.text(0)?;
            tx.commit().await?;
            Ok(kept)
        })
    }

    fn claim(
        &self,
        job: &'static str,
        holder: Holder,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreResult<bool> {
        self.run("claim a job", move |db| async move {
            let value = format!("{:0width$}/{}", until.0, uuid_text(holder.0), width = CLAIM_DIGITS);
            let mut tx = db.write().await?;
            let args = vec![Nid::SYSTEM.into(), job.into(), value.into(), now.into(), holder.into()];
            let taken = tx.execute(statements::CLAIM, args).await? == 1;
            tx.commit().await?;
            Ok(taken)
        })
    }

    fn forget_dead(&self, day: String, seen: Timestamp) -> StoreResult<u64> {
        self.run("forget dead processes", move |db| async move { purge::forget_dead(&db, &day, seen).await })
    }

    fn connections(&self) -> Connections {
        self.0.connections()
    }

    fn ping(&self) -> StoreResult<()> {
        self.run("reach the database", |db| async move {
            let scope = Scope::system("ping");
            let rows = db.fetch(&scope, statements::MIGRATIONS_APPLIED, Vec::new()).await?;
            let found = rows.last().map(|row| row.int(0)).transpose()?;
            if found == Some(migrate::VERSION) {
                Ok(())
            } else {
                Err(sqlx::Error::Decode(Box::new(WrongVersion { found })))
            }
        })
    }
}

fn tenant(row: &Row) -> Result<TenantRow, sqlx::Error> {
    let id = TenantId::parse(&row.text(1)?).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?;
    Ok(TenantRow { nid: row.nid(0)?, id })
}
