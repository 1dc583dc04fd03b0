// Webhook for billing system
app.post('/webhooks/billing', async (req, res) => {
  const { tenantId, month } = req.body;

  const usage = await admin.tenants.getUsage(tenantId, { month });

  // Send to billing system
  await billingSystem.createInvoice({
    tenantId,
    month,
    amount: usage.totalCost,
    lineItems: [
      { description: 'API calls', amount: usage.apiCallsCost },
      { description: 'Tool invocations', amount: usage.toolInvocationsCost },
      { description: 'Custom servers', amount: usage.customServersCost }
    ]
  });

  res.json({ success: true });
});
