"""Every way a call is refused or fails, as the official SDKs raise it. Prints one line for each."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
import anthropic
import openai
from setting import MESSAGES, NATIVE, anthropic_client, openai_client

KEY, POOR, BUSY = (os.environ[name] for name in ("KEY", "POOR_KEY", "BUSY_KEY"))
LONG = [{"role": "user", "content": "x" * 70_000}]


def show(label, call):
    try:
        call()
        print(label, "no exception")
    except openai.APIError as e:
        print(label, type(e).__name__, getattr(e, "status_code", None), e.code)
    except anthropic.APIError as e:
        body = e.body if isinstance(e.body, dict) else {}
        error = body.get("error", {})
        print(label, type(e).__name__, getattr(e, "status_code", None), error.get("type"), error.get("code"))


def chat(key, provider="openai", messages=MESSAGES, **more):
    more.setdefault("model", "thinker")
    return lambda: list(openai_client(key, provider).chat.completions.create(messages=messages, **more))


def message(key, provider="anthropic", messages=MESSAGES, **more):
    more.setdefault("model", "claude")
    client = anthropic_client(key, provider)
    return lambda: list(client.messages.create(max_tokens=9, messages=messages, **more))


def response(key, **more):
    return lambda: list(openai_client(key).responses.create(model="thinker", input="hi", **more))


for name, call, dead in (("openai", chat, "dead"), ("anthropic", message, "dead-claude")):
    show(f"{name} bad key:", call("nobody"))
    show(f"{name} budget:", call(POOR))
    show(f"{name} bad body:", call(KEY, extra_body={"model": 5}))
    show(f"{name} too large:", call(KEY, messages=LONG))
    busy = call(f"{BUSY}-{name}")
    busy()
    show(f"{name} too many:", busy)
    model = f"{dead}/x" if NATIVE else "x"
    show(f"{name} dead provider:", call(KEY, provider=dead, model=model))
    for status in (400, 401, 403, 404, 409, 422, 429, 500, 503):
        show(f"{name} provider's {status}:", call(KEY, model=f"fail-{status}"))
    show(f"{name} broken stream:", call(KEY, model="dies", stream=True))
show("responses broken stream:", response(KEY, extra_body={"model": "dies"}, stream=True))
if NATIVE:
    show("unknown model:", lambda: openai_client(KEY).models.retrieve("no-such-model"))
