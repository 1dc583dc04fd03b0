"""What the scripts of this folder share: clients of a gateway, at its native or its proxy addresses."""

import os

import anthropic
import openai

GATEWAY = os.environ["GATEWAY"]
NATIVE = os.environ["DOOR"] == "native"
MESSAGES = [{"role": "user", "content": "hi"}]


def openai_client(key, provider="openai"):
    url = f"{GATEWAY}/v1" if NATIVE else f"{GATEWAY}/v1/proxy/{provider}/v1"
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0)


def anthropic_client(key, provider="anthropic"):
    url = GATEWAY if NATIVE else f"{GATEWAY}/v1/proxy/{provider}"
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
