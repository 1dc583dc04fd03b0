"""What receivers were told and did not take, as our own Python SDK tells the operator. `webhooks.py awaited` or `… plain`."""

import asyncio
import inspect
import os
import sys

import bulkhead

admin = (bulkhead.AdminAPI if sys.argv[1] == "awaited" else bulkhead.SyncAdminAPI)(os.environ["GATEWAY"])
webhooks, tenants = admin.webhooks, admin.tenants


async def awaited(value):
    return await value


def settled(value):
    return asyncio.run(awaited(value)) if inspect.isawaitable(value) else value


def line(*values):
    print(*(str(value).lower() if isinstance(value, bool) else value for value in values))


event, *others = settled(webhooks.list(tenant="acme", kind="key.created", state="dead", page_size=1))
line(event.type, event.tenant_id, len(others), len(settled(webhooks.list(state="delivered"))))
told = settled(webhooks.get(event.id))
delivery = told.deliveries[0]
attempted = (delivery.endpoint, delivery.state, delivery.attempts, delivery.last_status)
line(len(told.deliveries), *attempted, told.payload["type"])
letter = settled(webhooks.dead_letters(tenant="acme"))[0]
line(letter.event_id == event.id, letter.type, letter.tenant_id, letter.last_error)
endpoint = settled(webhooks.endpoints())[0]
line(endpoint.id, len(endpoint.tenants), endpoint.dead_letters)
line(settled(webhooks.redeliver(event.id, endpoint="ops")).id == event.id)
tried = settled(webhooks.test("ops"))
line(tried.delivered, tried.status)
closed = settled(tenants.close_month("acme", "2025-01"))
line(closed.type, closed.id == settled(tenants.close_month("acme", "2025-01")).id)
try:
    settled(webhooks.get("nothing"))
except bulkhead.BulkheadError as error:
    line(type(error).__name__, error.status)
