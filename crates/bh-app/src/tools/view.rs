//! Servers, deployments and tools as they are told, in the words that both of seed 001's SDKs know (Connectors dossier §2.3).

use bh_domain::tools::tool_id;
use bh_wire::mcp::ToolHead;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Source;
use crate::ports::{ServerRow, ToolRow};

/// What a deployment's id begins with.
pub(super) const DEPLOYMENT_PREFIX: &str = "dep-";

const RUNNING: &str = "running";
const FAILED: &str = "failed";
const COMPLETED: &str = "completed";

/// How a deployment went.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "McpDeployment")]
pub struct DeploymentView {
    /// Names it.
    pub deployment_id: String,
    /// The server's name.
    pub name: String,
    /// `running` or `failed`.
    pub status: &'static str,
    /// Each step: `completed` or `failed`.
    #[schemars(with = "Map<String, Value>")]
    pub progress: Value,
    /// All steps together.
    pub progress_percent: u8,
    /// How many tools it told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools_discovered: Option<u64>,
    /// Where it is.
    pub endpoint: String,
    /// Where it is, as it was asked for.
    #[schemars(with = "Map<String, Value>")]
    pub source: Value,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it still takes.
    pub estimated_time: &'static str,
    /// In words.
    pub message: String,
}

impl DeploymentView {
    pub(super) fn of(server: &ServerRow) -> Self {
        let source = source(server);
        let step = if server.running { COMPLETED } else { FAILED };
        let message = match &server.error {
            None => format!("`{}` runs, with {} tools", server.name, server.tools),
            Some(error) => format!("`{}` cannot be used: {error}", server.name),
        };
        Self {
            deployment_id: format!("{DEPLOYMENT_PREFIX}{}", server.deployment.hyphenated()),
            name: server.name.clone(),
            status: status(server),
            progress: json!({ "discovery": step }),
            progress_percent: if server.running { 100 } else { 0 },
            tools_discovered: server.running.then_some(server.tools),
            endpoint: source["url"].as_str().unwrap_or_default().to_owned(),
            source,
            error: server.error.clone(),
            estimated_time: "0 seconds",
            message,
        }
    }
}

/// A server as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "McpServer")]
pub struct ServerView {
    /// Its name.
    pub name: String,
    /// What kind of tools it has.
    pub category: String,
    /// What it is for.
    pub description: String,
    /// How many tools it has.
    pub tool_count: u64,
    /// `running` or `failed`.
    pub status: &'static str,
    /// Where it is.
    #[schemars(with = "Map<String, Value>")]
    pub source: Value,
    /// Its deployment.
    pub deployment_id: String,
    /// When it was added, RFC 3339.
    pub deployed_at: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ServerView {
    pub(super) fn of(server: &ServerRow) -> Self {
        let DeploymentView { deployment_id, name, status, source, error, .. } = DeploymentView::of(server);
        Self {
            name,
            category: server.category.clone(),
            description: server.description.clone(),
            tool_count: server.tools,
            status,
            source,
            deployment_id,
            deployed_at: server.created.rfc3339(),
            error,
        }
    }
}

/// A server as an integration: where tools come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Integration")]
pub struct IntegrationView {
    /// Its name.
    pub name: String,
    /// What kind of tools it has.
    pub category: String,
    /// What it is for.
    pub description: String,
    /// How many tools it has.
    pub tool_count: u64,
    /// Whether the tenant brought it.
    pub custom: bool,
}

impl IntegrationView {
    pub(super) fn of(server: &ServerRow) -> Self {
        Self {
            name: server.name.clone(),
            category: server.category.clone(),
            description: server.description.clone(),
            tool_count: server.tools,
            custom: true,
        }
    }
}

/// A tool as it is told.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Tool")]
pub struct ToolView {
    /// Names it: the server's name, a dot, and its own.
    pub id: String,
    /// The same, for clients that know it by this name.
    pub tool_id: String,
    /// Its name on its server.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its server.
    pub integration: String,
    /// What kind of tool it is.
    pub category: String,
    /// How well it fits, where that was asked: 1 is the best of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How much is told of it: 1 everything, 2 without what it takes, 3 its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// LLM tokens of what is told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_cost: Option<u64>,
    /// What it takes: a JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub parameters: Option<Box<RawValue>>,
    /// Where the rest of it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_url: Option<String>,
}

impl ToolView {
    /// Everything that is known of a tool.
    pub(super) fn of(tool: &ToolRow) -> Self {
        let head = head(tool);
        let id = tool_id(&tool.server, &tool.name);
        Self {
            tool_id: id.clone(),
            id,
            name: tool.name.clone(),
            description: head.description.or(head.title).unwrap_or_default(),
            integration: tool.server.clone(),
            category: tool.category.clone(),
            score: None,
            tier: None,
            token_cost: None,
            parameters: head.input_schema,
            load_url: None,
        }
    }
}

/// What a server told of a tool. What is stored was read as such before.
pub(super) fn head(tool: &ToolRow) -> ToolHead {
    let none = || ToolHead { name: tool.name.clone(), title: None, description: None, input_schema: None };
    serde_json::from_str(&tool.definition).unwrap_or_else(|_| none())
}

fn source(server: &ServerRow) -> Value {
    Source::stored(&server.source).map_or(Value::Null, |source| json!(source))
}

fn status(server: &ServerRow) -> &'static str {
    if server.running { RUNNING } else { FAILED }
}
