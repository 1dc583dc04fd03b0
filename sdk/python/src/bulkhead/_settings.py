"""How a client is set up: arguments first, then the environment, then defaults."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, urlsplit

from .errors import ValidationError

#: Seconds that one attempt may take, unless told otherwise.
TIMEOUT_S = 30.0
#: Further attempts, unless told otherwise.
RETRIES = 3
#: More attempts than this help nobody.
RETRIES_MAX = 20


def environment(*names: str) -> str | None:
    """The first of these variables that is set."""
    return next((value for name in names if (value := os.environ.get(name))), None)


def base_url_of(told: str | None) -> str:
    """The base URL without a slash at its end."""
    told = told or environment("BULKHEAD_BASE_URL", "CONNECTORS_BASE_URL")
    if told is None:
        raise ValidationError("No `base_url` was given and BULKHEAD_BASE_URL is not set", field="base_url")
    try:
        url = urlsplit(told)
        # Reading the port checks it.
        known = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ValidationError("`base_url` is not a URL: write it as https://gateway.example.com", field="base_url")
    if url.username is not None or url.query or url.fragment:
        message = "`base_url` may hold no user, password, query or fragment: pass the key as an argument"
        raise ValidationError(message, field="base_url")
    return told.rstrip("/")


def header_value(field: str, value: str) -> str:
    """A value that goes into a header. The error does not repeat it: it may be a secret."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", value):
        message = f"`{field}` has to be visible ASCII characters: is there a line break or a blank at an end?"
        raise ValidationError(message, field=field)
    return value


def timeout_of(told: float | None) -> float:
    """Seconds of an attempt."""
    timeout = TIMEOUT_S if told is None else told
    if not 0 < timeout < float("inf"):
        raise ValidationError("`timeout` is a number of seconds above 0", field="timeout")
    return float(timeout)


def retries_of(told: int | None) -> int:
    """Attempts after the first."""
    retries = RETRIES if told is None else told
    if not isinstance(retries, int) or retries < 0:
        raise ValidationError("`max_retries` is a whole number, 0 or more", field="max_retries")
    return min(retries, RETRIES_MAX)


def path(template: str, *values: str) -> str:
    """A path whose ``{}`` are filled in, escaped: none may be empty or a step upwards."""
    for value in values:
        if not isinstance(value, str) or value in ("", ".", ".."):
            raise ValidationError("An id or name is empty or not one", field="id")
    return template.format(*(quote(value, safe="") for value in values))


def required_tenant(tenant_id: str | None) -> str:
    """The tenant that a path has to name."""
    if tenant_id is None:
        message = "This call names the tenant: pass `tenant_id` to the client, or set BULKHEAD_TENANT_ID"
        raise ValidationError(message, field="tenant_id")
    return tenant_id
