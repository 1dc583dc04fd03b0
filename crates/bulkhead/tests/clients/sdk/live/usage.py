"""What a tenant used, as our own Python SDK tells its operator and itself. `usage.py awaited` or `usage.py plain`."""

import asyncio
import inspect
import os
import sys

import bulkhead

URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]
AWAITED = sys.argv[1] == "awaited"
tenants = (bulkhead.AdminAPI if AWAITED else bulkhead.SyncAdminAPI)(URL).tenants
usage = (bulkhead.Bulkhead if AWAITED else bulkhead.SyncBulkhead)(URL, api_key=KEY).usage


async def awaited(value):
    return await value


def settled(value):
    return asyncio.run(awaited(value)) if inspect.isawaitable(value) else value


days = {"start_date": "2024-01-01", "end_date": "2024-01-31"}
for told in (settled(tenants.get_metrics("acme-corp", **days)), settled(usage.metrics(**days))):
    requests, tokens, cost = told.requests, told.tokens, told.cost
    measured = str(told.latency is not None).lower()
    counts = (requests.total, requests.success, tokens.total, tokens.input)
    print(*counts, cost.total, cost.currency, len(told.by_model), measured)
for report in (settled(tenants.get_usage("acme-corp", month="2024-01")), settled(usage.get(month="2024-01"))):
    calls = report.line_items[0]
    print(report.month, report.api_calls, report.api_calls_cost, report.llm_cost, report.total_cost, report.currency)
    print(calls.description, calls.quantity, calls.unit_price, calls.price_units, calls.amount)
print(settled(tenants.get_usage("acme-corp", month="2024-02")).api_calls)
try:
    settled(tenants.get_usage("acme-corp", month="January"))
except bulkhead.BulkheadError as error:
    print(type(error).__name__, error.code)
