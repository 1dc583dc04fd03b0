import { Connectors } from '@bulkhead/sdk';

// Initialize with tenant ID and API key
const connectors = new Connectors({
  baseURL: 'https://api.connectors.com',
  tenantId: 'acme-corp',
  apiKey: 'acme-corp-api-key'
});

// All operations are scoped to this tenant
const tools = await connectors.tools.select('query');

// Custom server deployment (tenant-isolated)
const deployment = await connectors.mcp.add({
  name: 'acme-custom-server',
  source: { type: 'github', url: 'https://github.com/acme/mcp-server' },
  category: 'custom'
});
