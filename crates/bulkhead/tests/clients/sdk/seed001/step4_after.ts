// After (multi-tenant)
const connectors = new Connectors({
  baseURL: 'http://localhost:3000',
  tenantId: 'default',
  apiKey: 'default-api-key'
});
