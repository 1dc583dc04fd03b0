"""One exchange over HTTP, with an end. Its twin in `_async` is written by hand too."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx

from .._refusals import Reply
from ..errors import NetworkError, TimeoutError, ValidationError

#: Bytes of an answer that are read; a longer one is an error.
ANSWER_BYTES_MAX = 64 * 1024 * 1024

sleep = time.sleep


class Http:
    """Connections of one client, shared by its threads."""

    def __init__(self, own: httpx.Client | None) -> None:
        self._own = own
        self._made = None if own is not None else httpx.Client()

    def exchange(
        self, method: str, url: str, query: list[tuple[str, str]], headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        """Sends a request and reads its whole answer, ``timeout`` seconds for each step and for the whole."""
        asked = {"params": query, "headers": headers, "content": body, "timeout": timeout, "follow_redirects": False}
        until = time.monotonic() + timeout
        try:
            with self._client().stream(method, url, **asked) as response:  # type: ignore[arg-type]
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > ANSWER_BYTES_MAX:
                        raise ValidationError(f"The answer is longer than {ANSWER_BYTES_MAX} bytes", field="answer")
                    if time.monotonic() > until:
                        raise TimeoutError(url=url, timeout=timeout)
                return Reply(response.status_code, dict(response.headers), content.decode("utf-8", "replace"))
        except httpx.TimeoutException:
            raise TimeoutError(url=url, timeout=timeout) from None
        except httpx.RequestError as error:
            # Without its cause: httpx keeps the request there, and with it the key.
            never_sent = isinstance(error, httpx.ConnectError)
            message = f"{url} could not be reached, or broke off: {error or type(error).__name__}"
            raise NetworkError(message, url=url, never_sent=never_sent) from None

    def _client(self) -> httpx.Client:
        client = self._own or self._made
        if client is None:
            raise ValidationError("This client is closed", field="client")
        return client

    def close(self) -> None:
        """Closes the connections this client opened, not those of a client it was given."""
        made, self._made = self._made, None
        if made is not None:
            made.close()
