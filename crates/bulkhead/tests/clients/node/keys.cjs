// Ory's own Node client of the API-key server, step by step; each step prints what it was told.
const assert = require('node:assert');
const { createPublicKey, verify: verifySignature } = require('node:crypto');
const { ApiKeysApi, Configuration } = require('@ory/client');

const ME = 'node';
const { GATEWAY, HOST, KEY, PREFIX, NID, ISSUER } = process.env;
const baseOptions = HOST ? { headers: { Host: HOST } } : {};
const api = new ApiKeysApi(new Configuration({ basePath: GATEWAY, accessToken: KEY, baseOptions }));

function say(...words) {
  const spell = (word) => {
    if (word === true) return 'yes';
    if (word === false) return 'no';
    if (word === undefined || word === null) return '-';
    return typeof word === 'object' ? JSON.stringify(word).replaceAll(',', ', ').replaceAll('"', "'") : String(word);
  };
  console.log(words.map(spell).join(' '));
}

async function raises(label, call) {
  try {
    await call();
  } catch (e) {
    assert(e.response, e);
    const { error } = e.response.data;
    assert.equal(error.code, e.response.status);
    assert(error.message);
    say(label, error.code, error.status, error.details[0].reason);
    return;
  }
  assert.fail(`${label}: no error`);
}

const verify = async (credential, headers = {}, expected_audiences = undefined) =>
  (await api.adminVerifyApiKey({ verifyApiKeyRequest: { credential, expected_audiences }, ...headers })).data;
const issue = async (fields) => {
  const answer = await api.adminIssueApiKey({ issueApiKeyRequest: { actor_id: ME, ...fields } });
  assert.equal(answer.status, 201);
  return answer.data;
};
const update = async (keyId, updateMask, fields) =>
  (await api.adminUpdateIssuedApiKey({ keyId, updateMask, adminUpdateIssuedApiKeyRequest: fields })).data;
const derive = async (algorithm, credential, fields = {}) =>
  (await api.adminDeriveToken({ deriveTokenRequest: { credential, algorithm, ...fields } })).data.token;
const importRequest = (raw_key, actor_id = ME) => ({ raw_key, name: 'from elsewhere', actor_id, scopes: ['read'] });

async function lifeOfAKey() {
  const limit = { quota: '100', window: '60s', unit: 'requests' };
  const fields = { name: 'one', scopes: ['read', 'write'], ttl: '24h', metadata: { team: 'a' } };
  const issued = await issue({ ...fields, rate_limit_policy: limit });
  const one = issued.issued_api_key;
  const begins = issued.secret.startsWith(`${PREFIX}_v1_`);
  say('issue', begins, one.status, one.visibility, one.scopes.join(), one.rate_limit_policy.quota);
  say('lifetime', Math.round((Date.parse(one.expire_time) - Date.parse(one.create_time)) / 1000));

  let told = await verify(issued.secret);
  say('verify', told.is_valid, told.status, told.key_id === one.key_id, told.issuer, told.metadata.team);
  say('get', (await api.adminGetIssuedApiKey({ keyId: one.key_id })).data.name);

  const others = [];
  for (const n of [0, 1]) others.push((await issue({ name: `more ${n}` })).issued_api_key.key_id);
  const filter = `actor_id="${ME}" AND status=KEY_STATUS_ACTIVE`;
  const first = (await api.adminListIssuedApiKeys({ pageSize: 2, filter })).data;
  const pageToken = first.next_page_token;
  const second = (await api.adminListIssuedApiKeys({ pageSize: 2, filter, pageToken })).data;
  const listed = [first, second].flatMap((page) => page.issued_api_keys.map((key) => key.key_id));
  say('list', first.issued_api_keys.length, second.issued_api_keys.length, second.next_page_token === '');
  say('listed', listed.sort().join() === [one.key_id, ...others].sort().join());

  told = await update(one.key_id, 'name,scopes', { name: 'renamed', scopes: ['read', 'list'] });
  say('update', told.name, told.scopes.join(), told.metadata.team);
  told = await update(one.key_id, 'rate_limit_policy,metadata', {});
  say('clear', told.rate_limit_policy, told.metadata, told.name);
  told = await update(one.key_id, undefined, { name: 'implied' });
  say('implicit', told.name, told.scopes.join(), told.status);
  say('fresh', (await verify(issued.secret, { cacheControl: 'no-cache' })).scopes.join());

  const answer = await api.adminRotateIssuedApiKey({ keyId: one.key_id, adminRotateIssuedApiKeyBody: { name: 'rotated' } });
  assert.equal(answer.status, 201);
  const rotated = answer.data;
  const [old, fresh] = [await verify(issued.secret), await verify(rotated.secret)];
  say('rotate', rotated.issued_api_key.name, rotated.issued_api_key.scopes.join(), rotated.old_issued_api_key.status);
  say('old', old.is_valid, old.error_code, old.key_id);
  say('new', fresh.is_valid, fresh.key_id === rotated.issued_api_key.key_id);
  return { oldSecret: issued.secret, secret: rotated.secret, keyId: fresh.key_id, others };
}

async function tokensOf({ secret, keyId }) {
  const tokens = {};
  for (const form of ['JWT', 'MACAROON']) {
    const wanted = { ttl: '10m', scopes: ['read'], custom_claims: { env: 'prod' }, audiences: ['web'] };
    const token = await derive(`TOKEN_ALGORITHM_${form}`, secret, wanted);
    tokens[form] = token.token;
    const told = await verify(token.token, {}, ['web']);
    say('derive', form, token.scopes.join(), token.audiences.join(), token.claims.env);
    say('verify', form, told.is_valid, told.key_id === keyId, told.scopes.join(), told.audiences.join());
  }
  const [header, payload, signature] = tokens.JWT.split('.');
  const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
  const jwk = (await api.getJwks()).data.jwks.keys.find((key) => key.kid === read(header).kid);
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  assert(verifySignature(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url')));
  const claims = read(payload);
  assert.equal(claims.iss, ISSUER);
  say('offline', claims.nid === NID, claims.sub === keyId, claims.env);
  return tokens;
}

async function imports({ secret, oldSecret }, tokens) {
  const raw = `sk_live_${ME}_0`;
  const answer = await api.adminImportApiKey({ importApiKeyRequest: importRequest(raw) });
  assert.equal(answer.status, 201);
  const imported = answer.data;
  say('import', imported.key_id.length, imported.status, imported.actor_id === ME, (await verify(raw)).is_valid);
  const requests = [1, 0, 2, 1].map((n) => importRequest(`sk_live_${ME}_${n}`));
  requests.push(importRequest(`sk_live_${ME}_3`, ''), importRequest(secret), importRequest(tokens.JWT));
  const batch = (await api.adminBatchCreateImportedApiKeys({ batchCreateImportedApiKeysRequest: { requests } })).data;
  say('batch', batch.success_count, batch.failure_count, batch.results.map((item) => item.index));
  for (const item of batch.results) {
    const code = (item.error_code ?? 'UNSPECIFIED').replace('BATCH_CREATE_IMPORTED_API_KEYS_ERROR_', '');
    say('item', item.index, code, Boolean(item.imported_api_key), Boolean(item.error_message));
  }

  const credentials = [secret, oldSecret, raw, tokens.JWT];
  for (let n = 0; n < 96; n += 1) credentials.push(`junk ${ME} ${n}`);
  const questions = credentials.map((credential) => ({ credential }));
  const told = (await api.adminBatchVerifyApiKeys({ batchVerifyApiKeysRequest: { requests: questions } })).data.results;
  const codes = [...new Set(told.slice(4).map((item) => item.error_code))];
  say('batch verify', told.length, ...told.slice(0, 4).map((item) => item.is_valid), told[3].error_code, `{'${codes.join("', '")}'}`);
  await lifeOfAnImport(raw, imported.key_id);
  return imported.key_id;
}

async function lifeOfAnImport(raw, keyId) {
  const keys = (await api.adminListImportedApiKeys({ filter: `actor_id="${ME}"` })).data.imported_api_keys;
  say('imported', keys.length, (await api.adminGetImportedApiKey({ keyId })).data.name);
  const change = { keyId, updateMask: 'name', adminUpdateImportedApiKeyRequest: { name: 'ours' } };
  let told = (await api.adminUpdateImportedApiKey(change)).data;
  say('update imported', told.name, told.scopes.join());
  const reason = { reason: 'REVOCATION_REASON_PRIVILEGE_WITHDRAWN', description: 'over' };
  const revoked = await api.adminRevokeImportedApiKey({ keyId, adminRevokeImportedApiKeyBody: reason });
  assert.equal(revoked.status, 204);
  told = (await api.adminGetImportedApiKey({ keyId })).data;
  say('revoke imported', (await verify(raw)).error_code, told.status, told.revocation_reason, told.revocation_description);
  assert.equal((await api.adminDeleteImportedApiKey({ keyId })).status, 204);
  say('delete imported', (await verify(raw)).error_code);
}

async function main() {
  const key = await lifeOfAKey();
  const { secret, others } = key;
  const tokens = await tokensOf(key);
  const deleted = await imports(key, tokens);

  const selfRevokeApiKeyRequest = { credential: secret, reason: 'REVOCATION_REASON_KEY_COMPROMISE' };
  const end = async () => (await api.revokeApiKey({ selfRevokeApiKeyRequest })).status === 200;
  say('self revoke', await end(), await end(), (await verify(secret)).error_code);

  const revoke = { keyId: others[0], adminRevokeIssuedApiKeyBody: { reason: 'REVOCATION_REASON_SUPERSEDED' } };
  assert.equal((await api.adminRevokeIssuedApiKey(revoke)).status, 204);
  await raises('get unknown', () => api.adminGetIssuedApiKey({ keyId: '00000000-0000-4000-8000-000000000000' }));
  await raises('get deleted', () => api.adminGetImportedApiKey({ keyId: deleted }));
  await raises('revoke twice', () => api.adminRevokeIssuedApiKey(revoke));
  await raises('bad mask', () => update(others[1], 'actor_id', { name: 'x' }));
  await raises('import twice', () => api.adminImportApiKey({ importApiKeyRequest: importRequest(`sk_live_${ME}_1`) }));
  await raises('rotate revoked', () => api.adminRotateIssuedApiKey({ keyId: others[0], adminRotateIssuedApiKeyBody: {} }));
  await raises('derive from revoked', () => derive('TOKEN_ALGORITHM_JWT', secret));
  await raises('derive from junk', () => derive('TOKEN_ALGORITHM_JWT', 'junk'));
  await raises('self revoke a token', () => api.revokeApiKey({ selfRevokeApiKeyRequest: { credential: tokens.JWT } }));
}

main().catch((e) => {
  console.error(e.message, e.response?.data ?? e.stack);
  process.exit(1);
});
