// Tool calls, plain and streamed, through the official SDKs. Prints one line for each.
const { MESSAGES, openaiClient, anthropicClient, all } = require('./setting.cjs');

const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const weather = { name: 'weather', parameters: schema };

async function openai(o) {
  const chat = { model: 'thinker', messages: MESSAGES, tools: [{ type: 'function', function: weather }] };
  const plain = (await o.chat.completions.create(chat)).choices[0].message.tool_calls[0].function;
  console.log('chat:', plain.name, plain.arguments);
  const chunks = await all(await o.chat.completions.create({ ...chat, stream: true }));
  const calls = chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []).map((call) => call.function);
  const text = calls.map((call) => call.arguments).join('');
  console.log('chat stream:', calls[0].name, text, chunks.at(-1).choices[0].finish_reason);
  const tools = [{ type: 'function', strict: true, ...weather }];
  const call = (await o.responses.create({ model: 'thinker', input: 'hi', tools })).output[0];
  console.log('responses:', call.type, call.name, call.arguments);
}

async function anthropic(a) {
  const tools = [{ name: 'weather', input_schema: schema }];
  const message = { model: 'claude', max_tokens: 9, messages: MESSAGES, tools };
  const show = (label, answer) =>
    console.log(label, answer.stop_reason, answer.content[0].name, answer.content[0].input.city);
  show('messages:', await a.messages.create(message));
  show('messages stream:', await a.messages.stream(message).finalMessage());
}

async function main() {
  await openai(openaiClient(process.env.KEY));
  await anthropic(anthropicClient(process.env.KEY));
}

main();
