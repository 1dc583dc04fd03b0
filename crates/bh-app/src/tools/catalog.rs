//! A tenant's tools, listed and shown (Connectors dossier §2.2).

use std::collections::BTreeMap;

use bh_domain::refusal::Refusal;
use bh_domain::tenant::Scope;
use bh_domain::tenant::profile::Feature;
use bh_domain::tools::split_tool_id;
use schemars::JsonSchema;
use serde::Serialize;

use super::view::{IntegrationView, ToolView};
use super::{ToolStory, no_tool, told};
use crate::ports::{ServerRow, ToolRow};
use crate::snapshot::Tenant;

/// Which tools.
#[derive(Clone, Debug, Default)]
pub struct ToolQuery {
    /// Of this kind.
    pub category: Option<String>,
    /// Of this server.
    pub integration: Option<String>,
    /// With this in their name or description, whatever its case.
    pub search: Option<String>,
    /// So many at most.
    pub limit: usize,
    /// After so many.
    pub offset: usize,
}

/// Tools, and how many there are.
#[derive(Clone, Debug)]
pub struct Listed {
    /// In order of their ids.
    pub tools: Vec<ToolView>,
    /// How many pass the filter.
    pub total: usize,
    /// The servers that they are of.
    pub integrations: Vec<IntegrationView>,
}

/// What kinds of tools there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ToolCategories")]
pub struct Categories {
    /// In order of names.
    pub categories: Vec<CategoryView>,
}

/// One kind of tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ToolCategory")]
pub struct CategoryView {
    /// Its name.
    pub id: String,
    /// The same, for clients that know it by this name.
    pub name: String,
    /// The servers whose tools are of this kind.
    pub description: String,
    /// How many tools there are.
    pub tool_count: u64,
}

impl ToolStory {
    /// A tenant's tools.
    ///
    /// # Errors
    /// `tool_busy`; those of the store.
    pub async fn list(&self, tenant: &Tenant, query: &ToolQuery) -> Result<Listed, Refusal> {
        let _turn = self.0.under_way.begin(tenant.nid)?;
        let all = self.tools(tenant).await?;
        let found: Vec<ToolView> = all.iter().map(ToolView::of).filter(|tool| query.takes(tool)).collect();
        let total = found.len();
        let mut integrations = self.integrations(tenant).await?;
        integrations.retain(|server| found.iter().any(|tool| tool.integration == server.name));
        let tools = found.into_iter().skip(query.offset).take(query.limit).collect();
        Ok(Listed { tools, total, integrations })
    }

    /// One tool, whole.
    ///
    /// # Errors
    /// `tool_not_found`; those of the store.
    pub async fn tool(&self, tenant: &Tenant, id: &str) -> Result<ToolView, Refusal> {
        self.found(tenant, id).await.map(|(_, tool)| ToolView::of(&tool))
    }

    /// What kinds of tools a tenant has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn categories(&self, tenant: &Tenant) -> Result<Categories, Refusal> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for tool in self.tools(tenant).await? {
            *counts.entry(tool.category).or_default() += 1;
        }
        let servers = self.integrations(tenant).await?;
        let view = |(name, tool_count): (String, u64)| {
            let of = servers.iter().filter(|server| server.category == name);
            let of: Vec<&str> = of.map(|server| server.name.as_str()).collect();
            let description = format!("Tools of {}", of.join(", "));
            CategoryView { id: name.clone(), name, description, tool_count }
        };
        Ok(Categories { categories: counts.into_iter().map(view).collect() })
    }

    /// Every tool of a tenant; none while it has to do without servers of its own.
    pub(super) async fn tools(&self, tenant: &Tenant) -> Result<Vec<ToolRow>, Refusal> {
        if tenant.allows(Feature::CustomServers).is_err() {
            return Ok(Vec::new());
        }
        let mut tools = self.store().tools(Scope::tenant(tenant.nid)).await.map_err(told)?;
        // Databases have orders of their own.
        tools.sort_unstable_by(|a, b| (&a.server, &a.name).cmp(&(&b.server, &b.name)));
        Ok(tools)
    }

    pub(super) async fn found(&self, tenant: &Tenant, id: &str) -> Result<(ServerRow, ToolRow), Refusal> {
        // An id that cannot be one is nobody's.
        let (server, tool) = split_tool_id(id).map_err(|_| no_tool(id))?;
        let scope = Scope::tenant(tenant.nid);
        let found = self.store().tool(scope, server.to_owned(), tool.to_owned()).await.map_err(told)?;
        found.ok_or_else(|| no_tool(id))
    }
}

impl ToolQuery {
    fn takes(&self, tool: &ToolView) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        let holds = |text: &str| {
            let text = text.to_lowercase();
            self.search.as_deref().is_none_or(|search| text.contains(&search.to_lowercase()))
        };
        is(&self.category, &tool.category)
            && is(&self.integration, &tool.integration)
            && (holds(&tool.id) || holds(&tool.description))
    }
}
