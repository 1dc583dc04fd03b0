"""When a call is made again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable

from .errors import BulkheadError, HTTPError, NetworkError, TimeoutError

#: Statuses after which a repeatable call is made again.
RETRIED = frozenset({408, 429, 502, 503, 504})
#: Statuses that say that nothing was done.
NOTHING_DONE = frozenset({429, 503})
#: The pauses grow from here, doubling,
PAUSE_S = 0.5
#: to here.
PAUSE_S_MAX = 8.0
#: A gateway that asks for a longer pause gets none: its error is told at once.
RETRY_AFTER_S_MAX = 60.0


def pause_before(
    error: BulkheadError, *, repeatable: bool, attempt: int, draw: Callable[[], float] = random.random
) -> float | None:
    """Seconds until the next attempt; None when there must be none. ``attempt`` counts those that were made before."""
    if not _may_repeat(error, repeatable):
        return None
    asked = error.retry_after if isinstance(error, HTTPError) else None
    jittered = draw() * min(PAUSE_S_MAX, PAUSE_S * 2.0**attempt)
    if asked is None:
        return jittered
    return None if asked > RETRY_AFTER_S_MAX else max(asked, jittered)


def _may_repeat(error: BulkheadError, repeatable: bool) -> bool:
    if isinstance(error, NetworkError):
        return repeatable or error.never_sent
    if isinstance(error, TimeoutError):
        return repeatable
    # `QUOTA_EXCEEDED` does not pass by waiting a little, whatever its status.
    if not isinstance(error, HTTPError) or error.code == "QUOTA_EXCEEDED":
        return False
    return error.status in (RETRIED if repeatable else NOTHING_DONE)
