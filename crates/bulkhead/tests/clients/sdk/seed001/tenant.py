from bulkhead import Connectors

# Initialize with tenant ID and API key
connectors = Connectors(
    base_url="https://api.connectors.com",
    tenant_id="acme-corp",
    api_key="acme-corp-api-key"
)

# All operations are scoped to this tenant
tools = await connectors.tools.select("query")

# Custom server deployment (tenant-isolated)
deployment = await connectors.mcp.add(
    name="acme-custom-server",
    source={"type": "github", "url": "https://github.com/acme/mcp-server"},
    category="custom"
)
