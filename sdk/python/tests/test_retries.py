from __future__ import annotations

import asyncio
import socket

import pytest

import bulkhead
from both import both
from conftest import KEY, PATIENCE_S, enveloped, limited, refused


@both
def test_a_limit_is_waited_for_as_long_as_the_gateway_asks(serve, kind):
    server = serve(limited(1), enveloped({"tools": [{"id": "a.b"}]}))
    tools = kind.run(lambda: kind.client(server.url).tools.list())
    assert [tool.id for tool in tools] == ["a.b"]
    first, second = server.requests
    assert second.at - first.at >= 1


@both
def test_a_pause_that_is_too_long_is_told_at_once(serve, kind):
    server = serve(limited(3600))
    error = kind.fails(bulkhead.RateLimitError, lambda: kind.client(server.url).tools.list())
    assert (error.retry_after, error.limit, error.remaining, error.code) == (3600, 5, 0, "RATE_LIMITED")
    assert len(server.requests) == 1


@both
@pytest.mark.parametrize("fault", [408, 502, 503, 504, "cut"])
def test_a_read_is_repeated_after_a_passing_fault(serve, kind, fault):
    server = serve(fault if fault == "cut" else refused(fault, "LATER"), enveloped([]))
    assert kind.run(lambda: kind.client(server.url).mcp.list()) == []
    assert len(server.requests) == 2


@both
def test_nothing_is_repeated_after_500_nor_more_often_than_it_may(serve, kind):
    failing = serve(refused(500, "INTERNAL_SERVER_ERROR"))
    error = kind.fails(bulkhead.ServerError, lambda: kind.client(failing.url).mcp.list())
    assert (error.status, error.status_code, error.request_id) == (500, 500, "r-2")
    assert len(failing.requests) == 1
    down = serve(refused(503, "SERVICE_UNAVAILABLE"))
    kind.fails(bulkhead.ServerError, lambda: kind.client(down.url, max_retries=1).mcp.list())
    assert len(down.requests) == 2


@both
def test_a_post_that_comes_to_the_same_when_repeated_is_under_one_idempotency_key(serve, kind):
    server = serve("cut", refused(502, "LATER"), enveloped({"tools": []}))
    kind.run(lambda: kind.client(server.url).tools.select("issues"))
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 3 and len(set(keys)) == 1 and len(keys[0]) == 32


@both
@pytest.mark.parametrize("fault", ["cut", 502, 504])
def test_a_post_that_does_something_is_not_repeated_when_it_may_have_been_done(serve, kind, fault):
    server = serve(fault if fault == "cut" else refused(fault, "LATER"), enveloped({"result": 1}))
    kind.fails(bulkhead.BulkheadError, lambda: kind.client(server.url).tools.invoke("a.b", {}))
    assert len(server.requests) == 1


@both
@pytest.mark.parametrize("fault", ["cut", 502, 504])
def test_a_key_that_is_told_again_is_asked_for_again_under_one_idempotency_key(serve, kind, fault):
    fault = fault if fault == "cut" else refused(fault, "LATER")
    for ask in (
        lambda admin: admin.tenants.rotate_api_key("acme"),
        lambda admin: admin.tenants.api_keys.create("acme", name="ci"),
    ):
        server = serve(fault, enveloped({"id": "k", "apiKey": "new"}))
        told = kind.run(lambda: ask(kind.admin(server.url)))
        assert getattr(told, "api_key", told) == "new"
        assert len(server.requests) == 2
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


@both
def test_a_post_that_does_something_is_repeated_when_nothing_was_done(serve, kind):
    server = serve(refused(503, "SERVICE_UNAVAILABLE", headers={"Retry-After": "0"}), enveloped({"apiKey": "new"}))
    assert kind.run(lambda: kind.admin(server.url).tenants.rotate_api_key("acme")) == "new"
    assert len(server.requests) == 2


@both
def test_a_patch_is_not_repeated_once_it_may_have_arrived(serve, kind):
    server = serve("cut")
    kind.fails(bulkhead.NetworkError, lambda: kind.admin(server.url).tenants.update("acme", name="ACME"))
    assert len(server.requests) == 1


@both
def test_an_address_where_nobody_listens_is_told_as_such(kind):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        client = kind.admin(url, max_retries=1)
        error = kind.fails(bulkhead.NetworkError, lambda: client.tenants.create(id="a", name="A"))
        assert error.never_sent and url in str(error)
        assert kind.run(lambda: kind.client(url, max_retries=0).test_connection()) is False


@both
@pytest.mark.parametrize("how", ["hang", "trickle"])
def test_an_attempt_ends_at_its_timeout(serve, kind, how):
    server = serve(how)
    error = kind.fails(bulkhead.TimeoutError, lambda: kind.client(server.url, timeout=0.1, max_retries=0).tools.list())
    assert isinstance(error, TimeoutError) and (error.code, error.timeout) == ("TIMEOUT", 0.1)
    server = serve(how, enveloped([]))
    assert kind.run(lambda: kind.client(server.url, timeout=1).tools.list()) == []
    assert len(server.requests) > 1


@pytest.mark.parametrize("step", ["hang", limited(50)])
def test_cancelling_a_task_ends_a_call_that_hangs_and_one_that_pauses(serve, step):
    server = serve(step)

    async def cancelled() -> None:
        task = asyncio.create_task(bulkhead.Bulkhead(server.url, api_key=KEY).tools.list())
        async with asyncio.timeout(PATIENCE_S) if hasattr(asyncio, "timeout") else _nothing():
            while not server.requests:
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert len(server.requests) == 1


class _nothing:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def test_a_client_outlives_its_event_loop(serve):
    server = serve(enveloped([]))
    client = bulkhead.Bulkhead(server.url)
    for _ in range(2):
        assert asyncio.run(client.mcp.list()) == []


def test_a_plain_client_is_closed_with_its_block(serve):
    server = serve(enveloped([]))
    with bulkhead.SyncBulkhead(server.url) as client:
        assert client.mcp.list() == []
    with pytest.raises(bulkhead.ValidationError):
        client.mcp.list()
