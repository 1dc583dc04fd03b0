//! What these doors say of themselves.

use bh_app::tools::{Categories, DeploymentView, ServerView, ToolView};
use bh_domain::refusal::Code;
use serde_json::{Value, json};

use super::select::{SelectIn, Told};
use super::servers::{AddIn, Integrations, Servers};
use super::{InvokeIn, LIMIT_DEFAULT, LIMIT_MAX, PAGES_MAX, Page};
use crate::envelope::{around, shape};
use crate::openapi::{self, Chapter, Operation, Parameter, Schemas};

const ABOUT: &str = "MCP servers that a tenant brings, and their tools: which of them fit a task, and calling them. They show \
                     nowhere but in their tenant. Answers hold what `data` holds beside it too, for older clients.";
const TOOLS: &str = "/api/v1/tools";
const MCP: &str = "/api/v1/mcp";

pub(crate) fn chapter() -> Chapter {
    let operations = vec![
        select(),
        invoke(),
        list(),
        tool("", "showTool", "Show a tool"),
        tool("/schema", "showToolSchema", "Show a tool, with what it takes"),
        tool("/full-schema", "showToolFullSchema", "Show a tool, with what it takes, for older clients"),
        Operation::get("/api/v1/categories", "listToolCategories", "List what kinds of tools there are")
            .tells("200", "Each with how many tools it has.", shape::<Categories>),
        add(),
        Operation::get(&format!("{MCP}/custom"), "listMcpServers", "List the tenant's servers")
            .takes([own_tenant()])
            .tells("200", "Those that run, and those that could not be reached.", shape::<Servers>),
        Operation::get(&format!("{MCP}/custom/{{name}}"), "showMcpServer", "Show a server")
            .takes([name(), own_tenant()])
            .tells("200", "The server.", shape::<ServerView>)
            .refuses(&[Code::ServerNotFound]),
        Operation::delete(
            &format!("{MCP}/custom/{{name}}"),
            "removeMcpServer",
            "Remove a server and its tools",
        )
        .takes([name(), own_tenant()])
        .tells("200", "It is gone.", removed)
        .refuses(&[Code::ServerNotFound]),
        Operation::get(
            &format!("{MCP}/deployments/{{id}}"),
            "showMcpDeployment",
            "Show how adding a server went",
        )
        .takes([openapi::path("id", "The deployment.", text())])
        .tells("200", "Whether its tools can be called, or why not.", shape::<DeploymentView>)
        .refuses(&[Code::DeploymentNotFound]),
        Operation::get(
            &format!("{MCP}/integrations"),
            "listIntegrations",
            "List the servers whose tools can be called",
        )
        .tells("200", "Each with how many tools it has.", shape::<Integrations>),
    ];
    Chapter::new("Tools", ABOUT, operations.into_iter().map(of_tenant).collect())
}

/// What every one of them refuses.
fn of_tenant(operation: Operation) -> Operation {
    operation.refuses(&[Code::CrossTenantAccessDenied])
}

fn select() -> Operation {
    Operation::post(&format!("{TOOLS}/select"), "selectTools", "Choose the tools that fit a task")
        .text("The best first, and of each as much as there is room for: everything, no parameters, or the name alone.")
        .needs(Schemas::taken::<SelectIn>)
        .tells("200", "The tools, by how much is told of them.", shape::<Told>)
        .refuses(&[Code::NotImplemented, Code::ToolBusy])
}

fn invoke() -> Operation {
    Operation::post(&format!("{TOOLS}/invoke"), "invokeTool", "Call a tool")
        .text("Whatever comes of it is on record, counted and on the tenant's audit trail.")
        .needs(Schemas::taken::<InvokeIn>)
        .tells("200", "The tool's own result, which may say that it failed (`isError`).", |schemas| {
            around(schemas, &json!({"type": "object", "description": "MCP's `CallToolResult`, as it came."}))
        })
        .refuses(&[Code::ToolNotFound, Code::QuotaExceeded, Code::EvidenceUnavailable])
        .refuses(&[Code::UpstreamUnreachable, Code::UpstreamTimeout, Code::UpstreamCredentialMissing])
        .refuses(&[Code::ToolFailed, Code::ToolBusy, Code::FeatureDisabled])
}

fn list() -> Operation {
    Operation::get(&format!("{TOOLS}/list"), "listTools", "List tools")
        .takes([
            openapi::text("category", "Of this kind."),
            openapi::text("integration", "Of this server."),
            openapi::text("server", "The same."),
            openapi::text("search", "With this in their id or description."),
            openapi::number("limit", "How many a page has.", LIMIT_DEFAULT, LIMIT_MAX),
            openapi::number("page", "Which page.", 1, PAGES_MAX),
            Parameter::of_query(
                "offset",
                "After so many, whatever `page` says.",
                json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            ),
            own_tenant(),
        ])
        .tells("200", "A page of tools.", shape::<Page>)
        .refuses(&[Code::ToolBusy])
}

fn tool(behind: &str, id: &str, summary: &str) -> Operation {
    Operation::get(&format!("{TOOLS}/{{tool_id}}{behind}"), id, summary)
        .takes([openapi::path("tool_id", "The tool: its server's name, a dot, and its own.", text())])
        .tells("200", "The tool.", shape::<ToolView>)
        .refuses(&[Code::ToolNotFound])
}

fn add() -> Operation {
    Operation::post(&format!("{MCP}/add"), "addMcpServer", "Add a server")
        .text("It is asked for its tools before this is answered, and stored as `failed` where that does not work.")
        .needs(Schemas::taken::<AddIn>)
        .tells("202", "How that went.", shape::<DeploymentView>)
        .refuses(&[Code::ServerExists, Code::QuotaExceeded, Code::TenantNotFound, Code::NotImplemented, Code::ToolBusy])
}

fn removed(schemas: &mut Schemas) -> Value {
    let members = json!({"name": {"type": "string"}, "message": {"type": "string"}});
    around(schemas, &json!({"type": "object", "properties": members, "required": ["name", "message"]}))
}

fn name() -> Parameter {
    openapi::path("name", "The server.", text())
}

fn own_tenant() -> Parameter {
    openapi::text("tenantId", "The key's tenant, for clients that tell it.")
}

fn text() -> Value {
    json!({"type": "string", "minLength": 1})
}
