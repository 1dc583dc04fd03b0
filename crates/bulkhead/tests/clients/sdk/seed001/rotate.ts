// Rotate API key
const newKey = await admin.tenants.rotateApiKey('acme-corp');

console.log('New API key:', newKey);
// Notify tenant to update their configuration
