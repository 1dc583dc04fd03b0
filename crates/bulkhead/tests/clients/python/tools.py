"""Tool calls, plain and streamed, through the official SDKs. Prints one line for each."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
from setting import MESSAGES, anthropic_client, openai_client

KEY = os.environ["KEY"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "parameters": SCHEMA}
o = openai_client(KEY)
a = anthropic_client(KEY)

chat = {"model": "thinker", "messages": MESSAGES, "tools": [{"type": "function", "function": FUNCTION}]}
call = o.chat.completions.create(**chat).choices[0].message.tool_calls[0].function
print("chat:", call.name, call.arguments)
chunks = list(o.chat.completions.create(**chat, stream=True))
calls = [c.choices[0].delta.tool_calls[0].function for c in chunks if c.choices[0].delta.tool_calls]
print("chat stream:", calls[0].name, "".join(c.arguments for c in calls), chunks[-1].choices[0].finish_reason)
call = o.responses.create(model="thinker", input="hi", tools=[{"type": "function", "strict": True, **FUNCTION}]).output[0]
print("responses:", call.type, call.name, call.arguments)

message = {"model": "claude", "max_tokens": 9, "messages": MESSAGES}
message["tools"] = [{"name": "weather", "input_schema": SCHEMA}]
answer = a.messages.create(**message)
print("messages:", answer.stop_reason, answer.content[0].name, answer.content[0].input["city"])
with a.messages.stream(**message) as stream:
    answer = stream.get_final_message()
print("messages stream:", answer.stop_reason, answer.content[0].name, answer.content[0].input["city"])
