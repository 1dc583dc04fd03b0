// Deploy to tenant namespace
const deployment = await connectors.mcp.add({
  name: 'acme-custom-server',
  source: { type: 'github', url: '...' },
  category: 'custom'
});

// Deploys to: namespace=tenant-acme-corp
// Service: acme-custom-server.tenant-acme-corp.svc.cluster.local
