from __future__ import annotations

import traceback

import pytest

import bulkhead
from both import both
from conftest import KEY, Answer, enveloped, refused


def shown(error: BaseException) -> str:
    chain = "".join(traceback.format_exception(error))
    return f"{error!r} {error} {vars(error)} {chain}"


@both
def test_printing_a_client_shows_no_key(kind):
    client = kind.client("http://127.0.0.1:9", headers={"x-own": KEY})
    admin = kind.admin("http://127.0.0.1:9")
    for one in (client, client.tools, client.mcp.get("x"), client._transport, admin, admin.tenants):
        assert KEY not in f"{one!r} {one}"


@both
@pytest.mark.parametrize("step", [refused(401, "INVALID_API_KEY"), "cut", Answer(200, "no")])
def test_no_error_shows_a_key_or_what_was_sent(serve, kind, step):
    server = serve(step)
    admin = kind.admin(server.url, max_retries=0)
    store = lambda: admin.oauth.store_credentials("acme", "github", access_token=KEY)  # noqa: E731
    # The test's own lines name the variable, never its value.
    assert KEY not in shown(kind.fails(bulkhead.BulkheadError, store))


@both
@pytest.mark.parametrize("key", [KEY + "\n", KEY + "é", " " + KEY])
def test_a_key_with_a_line_break_is_refused_without_being_repeated(kind, key):
    error = kind.fails(bulkhead.ValidationError, lambda: kind.admin("http://127.0.0.1:9", admin_key=key))
    assert error.field == "api_key" and KEY not in shown(error)


@both
def test_a_new_key_can_be_read_and_is_left_out_when_it_is_printed(serve, kind):
    server = serve(enveloped({"id": "acme", "name": "ci", "apiKey": KEY}))
    tenants = kind.admin(server.url).tenants
    for make in (lambda: tenants.create(id="acme", name="A"), lambda: tenants.api_keys.create("acme", name="ci")):
        made = kind.run(make)
        assert made.api_key == KEY
        assert KEY not in f"{made!r} {made}"
