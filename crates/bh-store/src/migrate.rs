//! Forward-only migrations, compiled in, applied under a lock, remembered with their checksum.

use aws_lc_rs::digest;
use bh_domain::tenant::{Nid, Scope};

use crate::db::{Db, Tx, Value};
use crate::open::{Access, OpenFault, Place};
use crate::statements;

struct Migration {
    version: i64,
    name: &'static str,
    /// For both databases.
    text: &'static str,
    /// What PostgreSQL needs beyond that.
    postgres: &'static str,
}

const MIGRATIONS: [Migration; 16] = [
    Migration {
        version: 1,
        name: "foundation",
        text: include_str!("../migrations/0001_foundation.sql"),
        postgres: include_str!("../migrations/0001_foundation.postgres.sql"),
    },
    Migration {
        version: 2,
        name: "budget_changes",
        text: include_str!("../migrations/0002_budget_changes.sql"),
        postgres: "",
    },
    Migration {
        version: 3,
        name: "keys",
        text: include_str!("../migrations/0003_keys.sql"),
        postgres: include_str!("../migrations/0003_keys.postgres.sql"),
    },
    Migration {
        version: 4,
        name: "key_extras",
        text: include_str!("../migrations/0004_key_extras.sql"),
        postgres: "",
    },
    Migration {
        version: 5,
        name: "audit_object",
        text: include_str!("../migrations/0005_audit_object.sql"),
        postgres: "",
    },
    Migration {
        version: 6,
        name: "identities",
        text: include_str!("../migrations/0006_identities.sql"),
        postgres: include_str!("../migrations/0006_identities.postgres.sql"),
    },
    Migration {
        version: 7,
        name: "tenants",
        text: include_str!("../migrations/0007_tenants.sql"),
        postgres: include_str!("../migrations/0007_tenants.postgres.sql"),
    },
    Migration {
        version: 8,
        name: "usage",
        text: include_str!("../migrations/0008_usage.sql"),
        postgres: include_str!("../migrations/0008_usage.postgres.sql"),
    },
    Migration {
        version: 9,
        name: "webhooks",
        text: include_str!("../migrations/0009_webhooks.sql"),
        postgres: include_str!("../migrations/0009_webhooks.postgres.sql"),
    },
    Migration {
        version: 10,
        name: "vault",
        text: include_str!("../migrations/0010_vault.sql"),
        postgres: include_str!("../migrations/0010_vault.postgres.sql"),
    },
    Migration {
        version: 11,
        name: "audit_anchors",
        text: include_str!("../migrations/0011_audit_anchors.sql"),
        postgres: include_str!("../migrations/0011_audit_anchors.postgres.sql"),
    },
    Migration {
        version: 12,
        name: "keyless",
        text: include_str!("../migrations/0012_keyless.sql"),
        postgres: include_str!("../migrations/0012_keyless.postgres.sql"),
    },
    Migration {
        version: 13,
        name: "open_anchors",
        text: include_str!("../migrations/0013_open_anchors.sql"),
        postgres: "",
    },
    Migration {
        version: 14,
        name: "billing_closed",
        text: include_str!("../migrations/0014_billing_closed.sql"),
        postgres: include_str!("../migrations/0014_billing_closed.postgres.sql"),
    },
    Migration {
        version: 15,
        name: "tenant_hostnames",
        text: include_str!("../migrations/0015_tenant_hostnames.sql"),
        postgres: include_str!("../migrations/0015_tenant_hostnames.postgres.sql"),
    },
    Migration {
        version: 16,
        name: "tools",
        text: include_str!("../migrations/0016_tools.sql"),
        postgres: include_str!("../migrations/0016_tools.postgres.sql"),
    },
];

/// The schema version this program works with.
pub const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

impl Migration {
    fn checksum(&self, postgres: bool) -> String {
        let mut sum = digest::Context::new(&digest::SHA256);
        sum.update(self.text.as_bytes());
        if postgres {
            sum.update(self.postgres.as_bytes());
        }
        sum.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Brings the schema to [`VERSION`], or checks that it is there when the store is only read.
pub(crate) async fn run(db: &Db, place: &Place, access: Access) -> Result<(), OpenFault> {
    let failed = |cause| OpenFault::Migrate { place: place.to_string(), cause };
    let mut tx = match access {
        Access::Own => db.migrate().await,
        Access::Read => db.read(&Scope::system("check the schema")).await,
    }
    .map_err(failed)?;
    if !exists(&mut tx, db).await.map_err(|cause| unreadable(place, cause))? {
        start(&mut tx, db, place, access).await?;
    }
    let applied = applied(&mut tx).await.map_err(failed)?;
    check(&applied, db, place)?;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if access == Access::Read && found < VERSION {
        return Err(OpenFault::Older { place: place.to_string(), found, known: VERSION });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        apply(&mut tx, migration, db.is_postgres()).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}

/// An SQLite file is not looked into before its first statement: damage shows here.
fn unreadable(place: &Place, cause: sqlx::Error) -> OpenFault {
    match place {
        Place::Sqlite(path) => OpenFault::Unreadable { path: path.clone(), cause },
        Place::Postgres { .. } => OpenFault::Migrate { place: place.to_string(), cause },
    }
}

async fn exists(tx: &mut Tx, db: &Db) -> Result<bool, sqlx::Error> {
    Ok(tx
        .fetch(catalogue(db), Vec::new())
        .await?
        .iter()
        .any(|row| matches!(row.text(0).as_deref(), Ok("schema_migrations"))))
}

fn catalogue(db: &Db) -> &'static str {
    if db.is_postgres() { statements::TABLES_POSTGRES } else { statements::TABLES_SQLITE }
}

/// Makes the table that remembers migrations, in a database that is empty.
async fn start(tx: &mut Tx, db: &Db, place: &Place, access: Access) -> Result<(), OpenFault> {
    let failed = |cause| OpenFault::Migrate { place: place.to_string(), cause };
    if !tx.fetch(catalogue(db), Vec::new()).await.map_err(failed)?.is_empty() {
        return Err(OpenFault::Foreign { place: place.to_string() });
    }
    match access {
        Access::Own => tx.batch(statements::CREATE_MIGRATIONS).await.map_err(failed),
        Access::Read => Err(OpenFault::Older { place: place.to_string(), found: 0, known: VERSION }),
    }
}

async fn applied(tx: &mut Tx) -> Result<Vec<(i64, String)>, sqlx::Error> {
    let rows = tx.fetch(statements::MIGRATIONS_APPLIED, Vec::new()).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
}

fn check(applied: &[(i64, String)], db: &Db, place: &Place) -> Result<(), OpenFault> {
    for (version, checksum) in applied {
        let Some(ours) = MIGRATIONS.iter().find(|migration| migration.version == *version) else {
            return Err(OpenFault::Newer { place: place.to_string(), found: *version, known: VERSION });
        };
        if ours.checksum(db.is_postgres()) != *checksum {
            return Err(OpenFault::Differs { place: place.to_string(), version: *version });
        }
    }
    Ok(())
}

async fn apply(tx: &mut Tx, migration: &Migration, postgres: bool) -> Result<(), sqlx::Error> {
    tx.batch(migration.text).await?;
    if postgres {
        tx.batch(migration.postgres).await?;
    }
    let row: Vec<Value> = vec![
        Nid::SYSTEM.into(),
        migration.version.into(),
        migration.name.into(),
        migration.checksum(postgres).into(),
        crate::now().into(),
    ];
    tx.execute(statements::REMEMBER_MIGRATION, row).await.map(drop)
}
