// Admin API
import { AdminAPI } from '@bulkhead/admin';

const admin = new AdminAPI({
  baseURL: 'http://localhost:3000',
  adminKey: process.env.ADMIN_API_KEY
});

// Create tenant
const tenant = await admin.tenants.create({
  id: 'acme-corp',
  name: 'ACME Corporation',
  email: 'admin@acme.com',
  plan: 'enterprise',
  limits: {
    requestsPerMinute: 2000,
    maxCustomServers: 20
  }
});

console.log('Tenant created:', tenant.id);
console.log('API Key:', tenant.apiKey);
