"""The operator's clients of our own Python SDK against the real gateway: a line per step. `admin.py awaited` or `admin.py plain`."""

import asyncio
import datetime
import inspect
import os
import sys

import bulkhead

URL = os.environ["GATEWAY"]
AWAITED = sys.argv[1] == "awaited"
CLIENT = bulkhead.Bulkhead if AWAITED else bulkhead.SyncBulkhead
ADMIN = bulkhead.AdminAPI if AWAITED else bulkhead.SyncAdminAPI


async def awaited(value):
    return await value


def settled(value):
    return asyncio.run(awaited(value)) if inspect.isawaitable(value) else value


def worded(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def tell(what, call):
    try:
        told = call()
        print(f"{what}: {' '.join(worded(one) for one in (told if isinstance(told, (list, tuple)) else [told]))}")
    except bulkhead.BulkheadError as error:
        field = getattr(error, "field", None)
        print(f"{what}: {type(error).__name__} {error.status} {error.code}{' ' + field if field else ''}")


def trail_of(key, tenant_id=None):
    return len(settled(CLIENT(URL, tenant_id, key).audit.list())) > 0


def updated():
    told = settled(tenants.update("one", limits={"requests_per_minute": 5000}, features={"oauth": False}))
    return (
        told.limits.requests_per_minute,
        told.limits.max_custom_servers,
        told.features.oauth,
        told.features.custom_servers,
    )


def got():
    told = settled(tenants.get("one"))
    return told.id, told.name, told.email, told.plan, told.status, told.managed_by, told.limits.requests_per_minute


def credentials(told):
    return told.tenant_id, told.integration, told.expires_at, told.next_refresh_at, ",".join(told.scopes)


def ours(listed):
    return [tenant.id for tenant in settled(listed) if tenant.id != "default"]


admin = ADMIN(URL)
tenants = admin.tenants
limits = {"requests_per_minute": 2000, "max_custom_servers": 20}
made = settled(tenants.create(id="one", name="One", email="a@one.example", plan="enterprise", limits=limits))
tell("its key works", lambda: trail_of(made.api_key, "one"))
tell("made again", lambda: settled(tenants.create(id="one", name="One")))
tell("bad plan", lambda: settled(tenants.create(id="two", name="Two", plan="platinum")))
tell("bad field", lambda: settled(tenants.update("one", {"limits": {"requestsPerMinute": "many"}})))
tell("updated", updated)
tell("got", got)
for name in ("three", "two", "four"):
    settled(tenants.create({"id": name, "name": name}))
tell("list", lambda: ours(tenants.list(page_size=2)))
tell("first two", lambda: len(settled(tenants.list(page_size=1, max=2))))
december = datetime.datetime(2026, 12, 31, tzinfo=datetime.timezone.utc)
stored = lambda tenant: settled(  # noqa: E731
    admin.oauth.store_credentials(
        tenant, "github", access_token="t-1", refresh_token="t-2", expires_at=december, scopes=["repo", "user"]
    )
)
tell("credentials", lambda: credentials(stored("two")))
tell("kept", lambda: credentials(settled(admin.oauth.get_credentials("two", "github"))))
tell("switched off", lambda: stored("one"))
tell("forgotten", lambda: settled(admin.oauth.delete_credentials("two", "github")) is None)
tell("none left", lambda: settled(admin.oauth.get_credentials("two", "github")))
tell("suspended", lambda: settled(tenants.suspend("one")).status)
tell("its call", lambda: trail_of(made.api_key))
tell("resumed", lambda: settled(tenants.resume("one")).status)
tell("its next call", lambda: trail_of(made.api_key))
second = settled(tenants.rotate_api_key("one"))
tell("rotated", lambda: ("string" if isinstance(second, str) else "?", second != made.api_key))
tell("the old key", lambda: trail_of(made.api_key))
tell("the new key", lambda: trail_of(second))
third = settled(tenants.rotate_api_key("one", grace_period_seconds=3600))
tell("both in grace", lambda: (trail_of(second), trail_of(third)))
key = settled(tenants.api_keys.create("one", name="ci", scopes=["read"], rate_limit={"requests_per_minute": 1}))


def second_call():
    try:
        settled(CLIENT(URL, api_key=key.api_key, max_retries=0).audit.list())
    except bulkhead.RateLimitError as error:
        return type(error).__name__, error.code, error.limit, error.remaining, error.retry_after > 0


tell("a key", lambda: (key.name, key.status, *key.scopes, "string" if isinstance(key.api_key, str) else "?"))
tell("its first call", lambda: trail_of(key.api_key))
tell("its second", second_call)
tell("listed", lambda: any((one.id, one.name) == (key.id, "ci") for one in settled(tenants.api_keys.list("one"))))
tell("ended", lambda: settled(tenants.api_keys.delete("one", key.id)) is None)
tell("its last call", lambda: trail_of(key.api_key))
fence = {"allowed_ips": ["203.0.113.0/24"]}
tell("fenced", lambda: settled(tenants.update("one", security=fence)).security.allowed_ips)
tell("from elsewhere", lambda: trail_of(third))
tell("trail", lambda: len({event.tenant_id for event in settled(admin.audit.list("one", page_size=3))}))
tell("unknown", lambda: settled(tenants.get("nobody")))
tell("deleted", lambda: settled(tenants.delete("four", confirm=True)) is None)
tell("list afterwards", lambda: ours(tenants.list()))
tell("not an admin", lambda: settled(ADMIN(URL, second).tenants.list()))
