// Admin API
const metrics = await admin.tenants.getMetrics('acme-corp', {
  startDate: '2024-01-01',
  endDate: '2024-01-31'
});

console.log('Tenant Metrics:');
console.log(`- Total requests: ${metrics.requests.total}`);
console.log(`- Tool invocations: ${metrics.tools.invocations}`);
console.log(`- Custom servers: ${metrics.servers.custom}`);
console.log(`- Token usage: ${metrics.tokens.total}`);
console.log(`- Cost: $${metrics.cost.total}`);
