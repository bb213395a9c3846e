"""The JSON body of a request, wherever one is taken."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from starlette.requests import Request

from emulator.azure_ml.errors import BadRequest

_CODE = "InvalidRequestContent"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


async def json_object(request: Request) -> dict[str, Any]:
    """The object that a request carries, empty when it has no body; raises `BadRequest`.

    Numbers that are not finite and halves of characters are refused: Python reads them, but no answer could carry them.
    """
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = json.loads(raw, parse_constant=_number, parse_float=_number)
        if _SURROGATE.search(raw):
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"The request body is not JSON: {problem}", code=_CODE) from problem
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code=_CODE)
    return body


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:100]} is no JSON number")
    return value
