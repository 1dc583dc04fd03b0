await admin.tenants.create({
  id: 'default',
  name: 'Default Tenant',
  plan: 'enterprise',
  limits: { requestsPerMinute: 10000 }
});
