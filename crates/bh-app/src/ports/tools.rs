//! MCP servers and their tools, as the stories see them.

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::{AuditEvent, StoreResult};

/// A tenant's MCP server, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    /// Tenant.
    pub nid: Nid,
    /// Its name, unique within the tenant.
    pub name: String,
    /// Its deployment: another one each time that it is added.
    pub deployment: Uuid,
    /// Where it is, a JSON object; never a secret.
    pub source: String,
    /// What kind of tools it has.
    pub category: String,
    /// What it is for.
    pub description: String,
    /// Whether its tools can be called.
    pub running: bool,
    /// Why they cannot.
    pub error: Option<String>,
    /// How many tools it told of.
    pub tools: u64,
    /// When it was added.
    pub created: Timestamp,
}

/// A tool of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRow {
    /// The server's name.
    pub server: String,
    /// Its name there.
    pub name: String,
    /// The server's category.
    pub category: String,
    /// What the server told of it, as it told it: a JSON object (MCP, `Tool`).
    pub definition: String,
}

/// What came of adding a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStored {
    /// It is there.
    Stored,
    /// A server of that name runs.
    Exists,
    /// The tenant has as many servers as it may have: so many.
    Full(u64),
    /// There is no tenant any more.
    TenantGone,
}

/// What is counted, and in which month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaPeriod {
    /// The quota's name.
    pub quota: &'static str,
    /// The month, in UTC: `2026-11`.
    pub month: String,
    /// Months before this one are forgotten: a clock that is late may count in the one before.
    pub kept_from: String,
}

/// Servers, tools, and how many invocations a month has had.
pub trait ToolStore: Send + Sync + 'static {
    /// Adds a server and its tools, in place of one of that name that does not run, unless as many as `max` others are there.
    fn add_server(
        &self,
        scope: Scope,
        server: ServerRow,
        tools: Vec<ToolRow>,
        max: Option<u64>,
        event: AuditEvent,
    ) -> StoreResult<ServerStored>;
    /// A tenant's servers, by name.
    fn servers(&self, scope: Scope) -> StoreResult<Vec<ServerRow>>;
    /// One of them.
    fn server(&self, scope: Scope, name: String) -> StoreResult<Option<ServerRow>>;
    /// The server that came of a deployment.
    fn deployment(&self, scope: Scope, id: Uuid) -> StoreResult<Option<ServerRow>>;
    /// Removes a server and its tools; whether there was one.
    fn remove_server(&self, scope: Scope, name: String, event: AuditEvent) -> StoreResult<bool>;
    /// The tools of a tenant's servers that run, by server and name.
    fn tools(&self, scope: Scope) -> StoreResult<Vec<ToolRow>>;
    /// One of them, with its server.
    fn tool(&self, scope: Scope, server: String, name: String) -> StoreResult<Option<(ServerRow, ToolRow)>>;
    /// Counts one thing more, unless there are `max` already: how many there were before it, and whether it was counted.
    fn take_quota(&self, scope: Scope, quota: QuotaPeriod, max: u64) -> StoreResult<(u64, bool)>;
    /// Takes one thing back.
    fn give_back_quota(&self, scope: Scope, quota: QuotaPeriod) -> StoreResult<()>;
}
