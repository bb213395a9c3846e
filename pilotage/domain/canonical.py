"""Canonical JSON and digests: the one way in which Pilotage hashes a value.

Follows RFC 8785 for the values we hash (objects with text keys, text, integers, booleans, null,
and floats as Python's shortest repr): keys sorted, no white space, UTF-8.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The bytes that stand for a JSON value; raises ValueError for NaN and infinities."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> str:
    """`sha256:<hex>` of a JSON value."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def short_hash(*parts: str, length: int = 12) -> str:
    """A short hex name for a tuple of texts; the parts can't run into each other."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()[:length]
