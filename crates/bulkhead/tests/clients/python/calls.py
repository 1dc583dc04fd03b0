"""Every kind of call, through the official SDKs. Prints one line for each."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
from setting import MESSAGES, NATIVE, anthropic_client, openai_client

KEY = os.environ["KEY"]
o = openai_client(KEY)
a = anthropic_client(KEY)


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


answer = o.chat.completions.create(model="thinker", messages=MESSAGES)
print("chat:", answer.choices[0].message.content, answer.usage.total_tokens)
chunks = list(o.chat.completions.create(model="thinker", messages=MESSAGES, stream=True))
print("chat stream:", text_of(chunks), sum(c.usage is not None for c in chunks), all(c.choices for c in chunks))
options = {"include_usage": True}
chunks = list(o.chat.completions.create(model="thinker", messages=MESSAGES, stream=True, stream_options=options))
print("chat stream with usage:", text_of(chunks), chunks[-1].usage.total_tokens)
answer = o.responses.create(model="thinker", input="hi")
print("responses:", answer.output_text, answer.usage.output_tokens)
events = list(o.responses.create(model="thinker", input="hi", stream=True))
text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
print("responses stream:", text, events[-1].type, events[-1].response.usage.output_tokens)
vectors = o.embeddings.create(model="thinker", input=["a", "b"]).data
print("embeddings:", len(vectors), vectors[1].embedding)
print("models:", "gpt-4o-mini" in [m.id for m in o.models.list()], o.models.retrieve("gpt-4o-mini").id)

answer = a.messages.create(model="claude", max_tokens=9, messages=MESSAGES)
print("messages:", answer.content[0].text, answer.usage.output_tokens)
with a.messages.stream(model="claude", max_tokens=9, messages=MESSAGES) as stream:
    print("messages stream:", "".join(stream.text_stream), stream.get_final_message().usage.output_tokens)
print("count:", a.messages.count_tokens(model="claude", messages=MESSAGES).input_tokens)
if NATIVE:
    print("catalogue:", "claude" in [m.id for m in a.models.list()])
