import { Connectors } from '@bulkhead/sdk';
import express from 'express';

const app = express();

// Middleware to extract tenant ID
app.use((req, res, next) => {
  req.tenantId = req.headers['x-tenant-id'];
  req.apiKey = req.headers['authorization']?.replace('Bearer ', '');
  next();
});

// Create tenant-specific Connectors instance
function getConnectorsForTenant(tenantId: string, apiKey: string): Connectors {
  return new Connectors({
    baseURL: 'https://api.connectors.com',
    tenantId,
    apiKey
  });
}

// API endpoint
app.post('/api/tools/select', async (req, res) => {
  const { tenantId, apiKey } = req;

  if (!tenantId || !apiKey) {
    return res.status(401).json({ error: 'Missing tenant ID or API key' });
  }

  const connectors = getConnectorsForTenant(tenantId, apiKey);

  try {
    const tools = await connectors.tools.select(req.body.query);
    res.json({ tools });
  } catch (error) {
    res.status(500).json({ error: error.message });
  }
});

app.listen(3001);
