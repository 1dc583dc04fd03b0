"""Runs snippets of seed 001, word for word but for the package's name: `run.py SNIPPET…`. They await at their top, and the
address they name leads to the gateway under test."""

import ast
import asyncio
import inspect
import os
import sys
from pathlib import Path

import httpx

import bulkhead

NAMED = "https://api.connectors.com"

send = httpx.AsyncHTTPTransport.handle_async_request


async def redirected(self, request):
    gateway = httpx.URL(os.environ["GATEWAY"])
    if str(request.url).startswith(NAMED):
        request.url = request.url.copy_with(scheme=gateway.scheme, host=gateway.host, port=gateway.port)
    return await send(self, request)


httpx.AsyncHTTPTransport.handle_async_request = redirected


async def run(snippet: str) -> None:
    text = (Path(__file__).parent / f"{snippet}.py").read_text()
    code = compile(text, snippet, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    pending = eval(code, {"__name__": snippet})
    if inspect.isawaitable(pending):
        await pending


for snippet in sys.argv[1:]:
    print(f"# {snippet}")
    try:
        asyncio.run(run(snippet))
    except bulkhead.BulkheadError as error:
        print(f"{type(error).__name__} {error.code}: {error.message}")
