// Admin API
await admin.oauth.storeCredentials('acme-corp', 'github', {
  accessToken: 'ghp_...',
  refreshToken: 'ghr_...',
  expiresAt: new Date('2024-12-31'),
  scopes: ['repo', 'user']
});
