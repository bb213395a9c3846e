"""Pages of sorted items. A token names the last item that was given, so that what comes or goes meanwhile shifts nothing."""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from typing import Any

import grpc


def page_of[Item](found: list[tuple[Any, Item]], size: int, token: str, context: grpc.ServicerContext) -> tuple[list[Item], str | None]:
    """Items after the token's, at most `size` (0: all), and the token of the next page.

    `found`: (key, item), sorted by keys that JSON can hold, tuples as lists. Aborts with INVALID_ARGUMENT on a token that isn't ours.
    """
    begin = 0
    if token:
        try:
            last = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
            begin = bisect.bisect_right(found, last, key=lambda entry: entry[0])
        except (ValueError, TypeError, RecursionError, binascii.Error):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The continuation token is not one that a query gave")
    page = found[begin:begin + size] if size > 0 else found[begin:]
    more = bool(page) and begin + len(page) < len(found)
    return [item for _, item in page], base64.urlsafe_b64encode(json.dumps(page[-1][0]).encode()).decode() if more else None
