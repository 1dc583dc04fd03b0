// Update tenant
await admin.tenants.update('acme-corp', {
  limits: {
    requestsPerMinute: 5000,
    maxCustomServers: 50
  },
  features: {
    customServers: true,
    oauth: true,
    advancedAnalytics: true
  }
});

// Get tenant info
const tenant = await admin.tenants.get('acme-corp');
console.log('Plan:', tenant.plan);
console.log('Usage:', tenant.usage);

// List all tenants
const tenants = await admin.tenants.list();
console.log(`Total tenants: ${tenants.length}`);
