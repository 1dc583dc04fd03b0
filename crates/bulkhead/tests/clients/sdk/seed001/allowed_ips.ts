// Configure allowed IPs
await admin.tenants.update('acme-corp', {
  security: {
    allowedIPs: ['203.0.113.0/24', '198.51.100.42']
  }
});
