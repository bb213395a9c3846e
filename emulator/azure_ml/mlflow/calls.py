"""One call of the MLflow API, and what makes a table of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from emulator.azure_ml.mlflow.fields import Fields
from emulator.azure_ml.resource import Scope
from emulator.context import Caller

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    scope: Scope
    caller: Caller
    fields: Fields
    """The JSON body, or the query of a GET."""
    names: tuple[str, ...] = ()
    """What stands in the path where the table has a `*`."""


Handler = Callable[[Call], Awaitable[Json]]
Table = dict[str, Handler]
"""`METHOD path` below `api/2.0/mlflow/`, `*` for a name in it, to what answers."""
