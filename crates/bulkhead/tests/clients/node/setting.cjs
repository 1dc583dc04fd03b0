// What the scripts of this folder share: clients of a gateway, at its native or its proxy addresses.
const OpenAI = require('openai');
const Anthropic = require('@anthropic-ai/sdk');

const { GATEWAY, DOOR } = process.env;
const NATIVE = DOOR === 'native';
const MESSAGES = [{ role: 'user', content: 'hi' }];

function openaiClient(apiKey, provider = 'openai') {
  const baseURL = NATIVE ? `${GATEWAY}/v1` : `${GATEWAY}/v1/proxy/${provider}/v1`;
  return new OpenAI({ baseURL, apiKey, maxRetries: 0 });
}

function anthropicClient(apiKey, provider = 'anthropic') {
  const baseURL = NATIVE ? GATEWAY : `${GATEWAY}/v1/proxy/${provider}`;
  return new Anthropic({ baseURL, apiKey, maxRetries: 0 });
}

/** Everything an async iterable has to give. */
async function all(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

module.exports = { OpenAI, Anthropic, NATIVE, MESSAGES, openaiClient, anthropicClient, all };
