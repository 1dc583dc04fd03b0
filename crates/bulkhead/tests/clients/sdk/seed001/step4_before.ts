// Before (single-tenant)
const connectors = new Connectors({ baseURL: 'http://localhost:3000' });

