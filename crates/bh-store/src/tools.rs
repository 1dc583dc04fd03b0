//! [`ToolStore`] on SQL.

use bh_app::ports::{AuditEvent, QuotaPeriod, ServerRow, ServerStored, StoreResult, ToolRow, ToolStore};
use bh_domain::tenant::{Nid, Scope};
use uuid::Uuid;

use crate::SqlStore;
use crate::db::{Db, Row, Tx, Value, malformed, uuid_text};
use crate::keys::audit;
use crate::vault::is_gone;

/// Statements about servers, tools and quotas.
pub(crate) mod statements {
    use crate::db::{Bulk, bulk};
    use crate::statements::{bulk_statements, statements};

    /// A server's columns.
    macro_rules! server {
        () => {
            "nid, name, deployment, source, category, description, running, error, tools, created_ms"
        };
    }

    statements! {
        /// A tenant's servers.
        SERVERS = concat!("SELECT ", server!(), " FROM mcp_servers WHERE nid = $1 ORDER BY name");
        /// One of them.
        SERVER = concat!("SELECT ", server!(), " FROM mcp_servers WHERE nid = $1 AND name = $2");
        /// The one that came of deployment `$2`.
        DEPLOYMENT = concat!("SELECT ", server!(), " FROM mcp_servers WHERE nid = $1 AND deployment = $2");
        /// How many others there are than `$2`.
        OTHER_SERVERS = "SELECT COUNT(*) FROM mcp_servers WHERE nid = $1 AND name <> $2";
        /// Adds a server.
        ADD_SERVER = concat!(
            "INSERT INTO mcp_servers (", server!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
        /// Removes a server.
        REMOVE_SERVER = "DELETE FROM mcp_servers WHERE nid = $1 AND name = $2";
        /// Removes a server's tools.
        REMOVE_TOOLS = "DELETE FROM mcp_tools WHERE nid = $1 AND server = $2";
        /// The tools of a tenant's servers.
        TOOLS = "SELECT server, name, category, definition FROM mcp_tools WHERE nid = $1 ORDER BY server, name";
        /// One of them.
        TOOL = "SELECT server, name, category, definition FROM mcp_tools WHERE nid = $1 AND server = $2 AND name = $3";
        /// Makes a count if it is not there, and holds it until the transaction ends.
        HOLD_COUNT = "INSERT INTO quota_counts (nid, quota, period, used) VALUES ($1, $2, $3, 0) \
            ON CONFLICT (nid, quota, period) DO UPDATE SET used = quota_counts.used RETURNING used";
        /// Counts one thing more, unless there are `$4`.
        COUNT_ONE = "INSERT INTO quota_counts (nid, quota, period, used) VALUES ($1, $2, $3, 1) \
            ON CONFLICT (nid, quota, period) DO UPDATE SET used = quota_counts.used + 1 \
            WHERE quota_counts.used < $4 RETURNING used";
        /// Takes one thing back.
        COUNT_ONE_LESS = "UPDATE quota_counts SET used = used - 1 \
            WHERE nid = $1 AND quota = $2 AND period = $3 AND used > 0";
        /// Forgets the counts of periods before `$3`.
        FORGET_COUNTS = "DELETE FROM quota_counts WHERE nid = $1 AND quota = $2 AND period < $3";
        /// Forgets a tenant's servers.
        FORGET_SERVERS = "DELETE FROM mcp_servers WHERE nid = $1";
        /// Forgets a tenant's counts.
        FORGET_QUOTAS = "DELETE FROM quota_counts WHERE nid = $1";
        /// Forgets a tenant's tools.
        FORGET_TOOLS = "DELETE FROM mcp_tools WHERE nid = $1";
    }

    bulk_statements! {
        /// Adds tools.
        ADD_TOOLS = bulk!(Insert, "INSERT INTO mcp_tools (nid, server, name, category, definition)", 5, "");
    }
}

use statements as sql;

type Outcome<T> = Result<T, sqlx::Error>;

/// The count that is held while servers are counted.
const SERVERS: &str = "servers";
/// The period of what is not counted by months.
const ALWAYS: &str = "always";

impl ToolStore for SqlStore {
    fn add_server(
        &self,
        scope: Scope,
        server: ServerRow,
        tools: Vec<ToolRow>,
        max: Option<u64>,
        event: AuditEvent,
    ) -> StoreResult<ServerStored> {
        self.run("add a server", move |db| async move {
            within(&scope, server.nid)?;
            let mut tx = db.write().await?;
            let outcome = add_within(&mut tx, &server, &tools, max).await?;
            match outcome {
                ServerStored::Stored => {
                    audit::add(&mut tx, server.nid, [&event]).await?;
                    tx.commit().await?;
                }
                ServerStored::Exists | ServerStored::Full(_) | ServerStored::TenantGone => {
                    tx.rollback().await?;
                }
            }
            Ok(outcome)
        })
    }

    fn servers(&self, scope: Scope) -> StoreResult<Vec<ServerRow>> {
        self.run("list servers", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            db.fetch(&scope, sql::SERVERS, vec![nid.into()]).await?.iter().map(server).collect()
        })
    }

    fn server(&self, scope: Scope, name: String) -> StoreResult<Option<ServerRow>> {
        self.run("read a server", move |db| async move { one(&db, &scope, sql::SERVER, name.into()).await })
    }

    fn deployment(&self, scope: Scope, id: Uuid) -> StoreResult<Option<ServerRow>> {
        self.run("read a deployment", move |db| async move {
            one(&db, &scope, sql::DEPLOYMENT, uuid_text(id).into()).await
        })
    }

    fn remove_server(&self, scope: Scope, name: String, event: AuditEvent) -> StoreResult<bool> {
        self.run("remove a server", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(false) };
            let named = || vec![nid.into(), name.as_str().into()];
            let mut tx = db.write().await?;
            if tx.execute(sql::REMOVE_SERVER, named()).await? != 1 {
                return tx.rollback().await.map(|()| false);
            }
            tx.execute(sql::REMOVE_TOOLS, named()).await?;
            audit::add(&mut tx, nid, [&event]).await?;
            tx.commit().await.map(|()| true)
        })
    }

    fn tools(&self, scope: Scope) -> StoreResult<Vec<ToolRow>> {
        self.run("list tools", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            db.fetch(&scope, sql::TOOLS, vec![nid.into()]).await?.iter().map(tool).collect()
        })
    }

    fn tool(&self, scope: Scope, server: String, name: String) -> StoreResult<Option<(ServerRow, ToolRow)>> {
        self.run("read a tool", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(None) };
            let args = vec![nid.into(), server.as_str().into(), name.into()];
            let rows = db.fetch(&scope, sql::TOOL, args).await?;
            let Some(found) = rows.first().map(tool).transpose()? else { return Ok(None) };
            let server = one(&db, &scope, sql::SERVER, server.into()).await?;
            Ok(server.map(|server| (server, found)))
        })
    }

    fn take_quota(&self, scope: Scope, quota: QuotaPeriod, max: u64) -> StoreResult<(u64, bool)> {
        self.run("count towards a quota", move |db| async move {
            let Some(nid) = scope.nid() else { return Err(no_tenant()) };
            let mut tx = db.write().await?;
            let taken = take(&mut tx, nid, &quota, max).await?;
            if taken.1 {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            Ok(taken)
        })
    }

    fn give_back_quota(&self, scope: Scope, quota: QuotaPeriod) -> StoreResult<()> {
        self.run("give back a quota", move |db| async move {
            let Some(nid) = scope.nid() else { return Err(no_tenant()) };
            let mut tx = db.write().await?;
            tx.execute(sql::COUNT_ONE_LESS, count(nid, &quota)).await?;
            tx.commit().await
        })
    }
}

async fn add_within(
    tx: &mut Tx,
    server: &ServerRow,
    tools: &[ToolRow],
    max: Option<u64>,
) -> Outcome<ServerStored> {
    if is_gone(tx, server.nid).await? {
        return Ok(ServerStored::TenantGone);
    }
    // Of two that are added at a time, one waits here for the other.
    tx.fetch(sql::HOLD_COUNT, vec![server.nid.into(), SERVERS.into(), ALWAYS.into()]).await?;
    let named = || vec![server.nid.into(), server.name.as_str().into()];
    let before = tx.fetch(sql::SERVER, named()).await?;
    if before.first().map(self::server).transpose()?.is_some_and(|before| before.running) {
        return Ok(ServerStored::Exists);
    }
    let others = tx.fetch(sql::OTHER_SERVERS, named()).await?;
    let others = others.first().map_or(Ok(0), |row| row.count(0))?;
    if max.is_some_and(|max| others >= max) {
        return Ok(ServerStored::Full(others));
    }
    tx.execute(sql::REMOVE_SERVER, named()).await?;
    tx.execute(sql::REMOVE_TOOLS, named()).await?;
    tx.execute(sql::ADD_SERVER, values(server)).await?;
    let row = |tool: &ToolRow| -> [Value; 5] {
        [
            server.nid.into(),
            tool.server.as_str().into(),
            tool.name.as_str().into(),
            tool.category.as_str().into(),
            tool.definition.as_str().into(),
        ]
    };
    tx.execute_rows(&sql::ADD_TOOLS, tools.iter().flat_map(row).collect()).await?;
    Ok(ServerStored::Stored)
}

async fn take(tx: &mut Tx, nid: Nid, quota: &QuotaPeriod, max: u64) -> Outcome<(u64, bool)> {
    let counted = || count(nid, quota);
    // An insert asks nobody how many there are.
    let taken = if max == 0 {
        Vec::new()
    } else {
        tx.fetch(sql::COUNT_ONE, [counted(), vec![max.into()]].concat()).await?
    };
    let Some(row) = taken.first() else {
        let used = tx.fetch(sql::HOLD_COUNT, counted()).await?;
        return Ok((used.first().map_or(Ok(0), |row| row.count(0))?, false));
    };
    let before = row.count(0)?.saturating_sub(1);
    if before == 0 {
        let old = vec![nid.into(), quota.quota.into(), quota.kept_from.as_str().into()];
        tx.execute(sql::FORGET_COUNTS, old).await?;
    }
    Ok((before, true))
}

/// Forgets a tenant's servers, tools and counts within the transaction that deletes the tenant.
pub(crate) async fn forget(tx: &mut Tx, nid: Nid) -> Outcome<()> {
    tx.execute(sql::FORGET_QUOTAS, vec![nid.into()]).await?;
    tx.execute(sql::FORGET_TOOLS, vec![nid.into()]).await?;
    tx.execute(sql::FORGET_SERVERS, vec![nid.into()]).await.map(drop)
}

async fn one(db: &Db, scope: &Scope, statement: &'static str, by: Value) -> Outcome<Option<ServerRow>> {
    let Some(nid) = scope.nid() else { return Ok(None) };
    db.fetch(scope, statement, vec![nid.into(), by]).await?.first().map(server).transpose()
}

fn within(scope: &Scope, nid: Nid) -> Outcome<()> {
    if scope.nid() == Some(nid) { Ok(()) } else { Err(no_tenant()) }
}

fn no_tenant() -> sqlx::Error {
    sqlx::Error::InvalidArgument("servers and quotas are written in the scope of their tenant".to_owned())
}

fn count(nid: Nid, quota: &QuotaPeriod) -> Vec<Value> {
    vec![nid.into(), quota.quota.into(), quota.month.as_str().into()]
}

fn values(server: &ServerRow) -> Vec<Value> {
    vec![
        server.nid.into(),
        server.name.as_str().into(),
        uuid_text(server.deployment).into(),
        server.source.as_str().into(),
        server.category.as_str().into(),
        server.description.as_str().into(),
        server.running.into(),
        (&server.error).into(),
        server.tools.into(),
        server.created.into(),
    ]
}

fn server(row: &Row) -> Outcome<ServerRow> {
    let deployment = Uuid::parse_str(&row.text(2)?).map_err(|_| malformed(2, "a deployment"))?;
    Ok(ServerRow {
        nid: row.nid(0)?,
        name: row.text(1)?,
        deployment,
        source: row.text(3)?,
        category: row.text(4)?,
        description: row.text(5)?,
        running: row.int(6)? != 0,
        error: row.optional_text(7)?,
        tools: row.count(8)?,
        created: row.time(9)?,
    })
}

fn tool(row: &Row) -> Outcome<ToolRow> {
    Ok(ToolRow { server: row.text(0)?, name: row.text(1)?, category: row.text(2)?, definition: row.text(3)? })
}
