// Admin API
const usage = await admin.tenants.getUsage('acme-corp', {
  month: '2024-01'
});

console.log('Usage Report:');
console.log(`- API calls: ${usage.apiCalls} ($${usage.apiCallsCost})`);
console.log(`- Tool invocations: ${usage.toolInvocations} ($${usage.toolInvocationsCost})`);
console.log(`- Custom servers: ${usage.customServers} ($${usage.customServersCost})`);
console.log(`- Total: $${usage.totalCost}`);
