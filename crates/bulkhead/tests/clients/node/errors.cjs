// Every way a call is refused or fails, as the official SDKs throw it. Prints one line for each.
const { OpenAI, Anthropic, NATIVE, MESSAGES, openaiClient, anthropicClient, all } = require('./setting.cjs');

const { KEY, POOR_KEY, BUSY_KEY } = process.env;
const LONG = [{ role: 'user', content: 'x'.repeat(70_000) }];
const or = (value) => value ?? 'None';

async function show(label, call) {
  try {
    await call();
    console.log(label, 'no exception');
  } catch (e) {
    if (e instanceof OpenAI.APIError) {
      console.log(label, e.constructor.name, or(e.status), or(e.code));
    } else if (e instanceof Anthropic.APIError) {
      const error = e.error?.error ?? {};
      console.log(label, e.constructor.name, or(e.status), or(error.type), or(error.code));
    } else {
      throw e;
    }
  }
}

/** Makes a call and, where it is a stream, reads it to its end. */
async function run(call) {
  const answer = await call;
  if (answer?.[Symbol.asyncIterator]) await all(answer);
}

const chat = (key, more = {}, provider = 'openai') => () =>
  run(openaiClient(key, provider).chat.completions.create({ model: 'thinker', messages: MESSAGES, ...more }));

const message = (key, more = {}, provider = 'anthropic') => () => {
  const body = { model: 'claude', max_tokens: 9, messages: MESSAGES, ...more };
  return run(anthropicClient(key, provider).messages.create(body));
};

async function main() {
  for (const [name, call, dead] of [['openai', chat, 'dead'], ['anthropic', message, 'dead-claude']]) {
    await show(`${name} bad key:`, call('nobody'));
    await show(`${name} budget:`, call(POOR_KEY));
    await show(`${name} bad body:`, call(KEY, { model: 5 }));
    await show(`${name} too large:`, call(KEY, { messages: LONG }));
    const busy = call(`${BUSY_KEY}-${name}`);
    await busy();
    await show(`${name} too many:`, busy);
    await show(`${name} dead provider:`, call(KEY, { model: NATIVE ? `${dead}/x` : 'x' }, dead));
    for (const status of [400, 401, 403, 404, 409, 422, 429, 500, 503]) {
      await show(`${name} provider's ${status}:`, call(KEY, { model: `fail-${status}` }));
    }
    await show(`${name} broken stream:`, call(KEY, { model: 'dies', stream: true }));
  }
  const streamed = { model: 'dies', input: 'hi', stream: true };
  await show('responses broken stream:', () => run(openaiClient(KEY).responses.create(streamed)));
  if (NATIVE) await show('unknown model:', () => openaiClient(KEY).models.retrieve('no-such-model'));
}

main();
