# Made by scripts/make_sync.py from _async/usage.py: change that file.
"""What the tenant used."""

from __future__ import annotations

from datetime import date

from ..types import TenantMetrics, UsageReport
from .transport import Call, Transport


class Usage:
    """What the tenant used."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, *, month: str | None = None) -> UsageReport:
        """The usage of a month, ``YYYY-MM`` in UTC, and what it costs; of the current one unless told otherwise."""
        return self._transport.one(UsageReport, Call("GET", "/api/v1/usage", query={"month": month}))

    def metrics(
        self, *, start_date: str | date | None = None, end_date: str | date | None = None
    ) -> TenantMetrics:
        """Counts from one day to another, ``YYYY-MM-DD`` in UTC, both included."""
        query = {"startDate": start_date, "endDate": end_date}
        return self._transport.one(TenantMetrics, Call("GET", "/api/v1/usage/metrics", query=query))
