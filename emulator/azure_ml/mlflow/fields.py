"""The fields of a request, read by type: what is missing or of the wrong type is refused by name.

Bodies are protobuf's JSON, as MLflow's clients write it: 64-bit integers may come as text, numbers that are not
finite as `"NaN"`, `"Infinity"` and `"-Infinity"`. A query gives every field as text.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any

from emulator.azure_ml.mlflow.errors import invalid

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INT64 = 2**63
_WHOLE = re.compile(r"-?[0-9]{1,20}")


class Fields:
    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values = values
        self._where = where

    def given(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, *names: str, longest: int = 0, empty: bool = False) -> str:
        """A required text, under the first of its names that is given; `longest` characters at most (0: no limit)."""
        for name in names:
            value = self._values.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                raise self._wrong(name, value, "a string")
            if longest and len(value) > longest:
                raise invalid(f"'{self._where}{name}' exceeds the maximum length of {longest} characters.")
            if value or empty:
                return value
        raise invalid(f"Missing value for required parameter '{self._where}{names[0]}'.")

    def optional(self, name: str, longest: int = 0) -> str | None:
        return self.text(name, longest=longest, empty=True) if self.given(name) else None

    def word(self, name: str, default: str) -> str:
        """A value of an enumeration: its name, or its number as text."""
        value = self._values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.optional(name) or default

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._values.get(name)
        if value is None:
            if default is None:
                raise invalid(f"Missing value for required parameter '{self._where}{name}'.")
            return default
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not -_INT64 <= value < _INT64:
            raise self._wrong(name, value, "an integer of 64 bits")
        return value

    def number(self, name: str) -> float:
        value = self._values.get(name)
        if value is None:
            raise invalid(f"Missing value for required parameter '{self._where}{name}'.")
        if isinstance(value, str) and value in _NUMBERS:
            return _NUMBERS[value]
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > sys.float_info.max:
            raise self._wrong(name, value, "a number")
        return float(value)

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts; one by itself stands for a list of it, as in a query."""
        value = self._values.get(name)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of strings")
        return value

    def objects(self, name: str, most: int = 0) -> list[Fields]:
        """A list of objects, `most` of them at most (0: no limit)."""
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(name, value, "a list of objects")
        if most and len(value) > most:
            raise invalid(f"A request has {most} '{self._where}{name}' at most, not {len(value)}.")
        return [Fields(item, f"{self._where}{name}[{index}].") for index, item in enumerate(value)]

    def object(self, name: str) -> dict[str, Any]:
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return value

    def page(self, default: int, most: int) -> tuple[int, int]:
        """`max_results` and the offset that `page_token` stands for."""
        limit = self.integer("max_results", default)
        if not 0 < limit <= most:
            raise invalid(f"Invalid value {limit} for parameter 'max_results': it must be between 1 and {most}.")
        token = self.optional("page_token") or "0"
        if not token.isdecimal() or len(token) > 15:
            raise invalid(f"Invalid value {token!r} for parameter 'page_token'.")
        return limit, int(token)

    def _wrong(self, name: str, value: Any, wanted: str) -> Exception:
        return invalid(f"Invalid value {str(value)[:100]!r} for parameter '{self._where}{name}': it must be {wanted}.")


def paged[T](items: list[T], limit: int, offset: int) -> tuple[list[T], dict[str, str]]:
    """One page and, when more follow, `{"next_page_token"}`."""
    following = {"next_page_token": str(offset + limit)} if len(items) > offset + limit else {}
    return items[offset : offset + limit], following
