"""Running one test with the clients that are awaited and with those that are not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import bulkhead
from conftest import KEY


class Kind:
    """One of the two kinds of clients."""

    def __init__(self, awaited: bool) -> None:
        self.awaited = awaited

    def client(self, url: str, **more: Any) -> Any:
        kind = bulkhead.Connectors if self.awaited else bulkhead.SyncConnectors
        return kind(url, api_key=KEY, **more)

    def admin(self, url: str, **more: Any) -> Any:
        kind = bulkhead.AdminAPI if self.awaited else bulkhead.SyncAdminAPI
        return kind(url, **{"admin_key": KEY, **more})

    def run(self, call: Callable[[], Any]) -> Any:
        """The result of a call, however it comes."""
        return asyncio.run(settled(call())) if self.awaited else call()

    def take(self, items: Callable[[], Any], count: int) -> list[Any]:
        """The first items of an iterator, however it is iterated."""
        if not self.awaited:
            iterator = iter(items())
            return [next(iterator) for _ in range(count)]

        async def first() -> list[Any]:
            iterator = aiter(items())
            return [await anext(iterator) for _ in range(count)]

        return asyncio.run(first())

    def fails(self, error: type[BaseException], call: Callable[[], Any]) -> Any:
        """The error that a call ends with."""
        with pytest.raises(error) as raised:
            self.run(call)
        return raised.value


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


both = pytest.mark.parametrize("kind", [Kind(True), Kind(False)], ids=["awaited", "plain"])
