// Every kind of call, through the official SDKs. Prints one line for each.
const { NATIVE, MESSAGES, openaiClient, anthropicClient, all } = require('./setting.cjs');

const textOf = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');

async function openai(o) {
  const chat = { model: 'thinker', messages: MESSAGES };
  const answer = await o.chat.completions.create(chat);
  console.log('chat:', answer.choices[0].message.content, answer.usage.total_tokens);
  let chunks = await all(await o.chat.completions.create({ ...chat, stream: true }));
  const usages = chunks.filter((c) => c.usage != null).length;
  console.log('chat stream:', textOf(chunks), usages, chunks.every((c) => c.choices.length > 0));
  const asking = { ...chat, stream: true, stream_options: { include_usage: true } };
  chunks = await all(await o.chat.completions.create(asking));
  console.log('chat stream with usage:', textOf(chunks), chunks.at(-1).usage.total_tokens);
  const response = await o.responses.create({ model: 'thinker', input: 'hi' });
  console.log('responses:', response.output_text, response.usage.output_tokens);
  const events = await all(await o.responses.create({ model: 'thinker', input: 'hi', stream: true }));
  const text = events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  console.log('responses stream:', text, events.at(-1).type, events.at(-1).response.usage.output_tokens);
  const vectors = (await o.embeddings.create({ model: 'thinker', input: ['a', 'b'] })).data;
  console.log('embeddings:', vectors.length, JSON.stringify(vectors[1].embedding));
  const ids = (await all(await o.models.list())).map((m) => m.id);
  console.log('models:', ids.includes('gpt-4o-mini'), (await o.models.retrieve('gpt-4o-mini')).id);
}

async function anthropic(a) {
  const message = { model: 'claude', max_tokens: 9, messages: MESSAGES };
  const answer = await a.messages.create(message);
  console.log('messages:', answer.content[0].text, answer.usage.output_tokens);
  const streamed = await a.messages.stream(message).finalMessage();
  console.log('messages stream:', streamed.content[0].text, streamed.usage.output_tokens);
  const count = await a.messages.countTokens({ model: 'claude', messages: MESSAGES });
  console.log('count:', count.input_tokens);
  if (NATIVE) console.log('catalogue:', (await all(a.models.list())).some((m) => m.id === 'claude'));
}

async function main() {
  await openai(openaiClient(process.env.KEY));
  await anthropic(anthropicClient(process.env.KEY));
}

main();
