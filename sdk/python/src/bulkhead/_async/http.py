"""One exchange over HTTP, with an end. Its twin in `_sync` is written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from .._refusals import Reply
from ..errors import NetworkError, TimeoutError, ValidationError

#: Bytes of an answer that are read; a longer one is an error.
ANSWER_BYTES_MAX = 64 * 1024 * 1024

sleep = asyncio.sleep


class Http:
    """Connections of one client. A client that outlives its event loop opens new ones in the next."""

    def __init__(self, own: httpx.AsyncClient | None) -> None:
        self._own = own
        self._made: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    async def exchange(
        self, method: str, url: str, query: list[tuple[str, str]], headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        """Sends a request and reads its whole answer within ``timeout`` seconds."""
        asked = {"params": query, "headers": headers, "content": body, "timeout": timeout, "follow_redirects": False}
        # Made before the clock runs: the first one of a process reads its certificates.
        client = self._client()
        try:
            return await asyncio.wait_for(_read(client, method, url, asked), timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            raise TimeoutError(url=url, timeout=timeout) from None
        except httpx.RequestError as error:
            # Without its cause: httpx keeps the request there, and with it the key.
            never_sent = isinstance(error, httpx.ConnectError)
            message = f"{url} could not be reached, or broke off: {error or type(error).__name__}"
            raise NetworkError(message, url=url, never_sent=never_sent) from None

    def _client(self) -> httpx.AsyncClient:
        if self._own is not None:
            return self._own
        loop = asyncio.get_running_loop()
        if self._made is None or self._made[0] is not loop:
            self._made = (loop, httpx.AsyncClient())
        return self._made[1]

    async def aclose(self) -> None:
        """Closes the connections this client opened, not those of a client it was given."""
        made, self._made = self._made, None
        if made is not None and made[0] is asyncio.get_running_loop():
            await made[1].aclose()


async def _read(client: httpx.AsyncClient, method: str, url: str, asked: Mapping[str, Any]) -> Reply:
    async with client.stream(method, url, **asked) as response:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > ANSWER_BYTES_MAX:
                raise ValidationError(f"The answer is longer than {ANSWER_BYTES_MAX} bytes", field="answer")
        return Reply(response.status_code, dict(response.headers), content.decode("utf-8", "replace"))
