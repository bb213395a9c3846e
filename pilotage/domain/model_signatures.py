"""A model's signature: what goes in and what comes out, by name and type; and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pilotage.domain.assets import Frozen

Kind = Literal["added", "removed", "retyped", "now required", "now optional", "reordered"]


class Column(Frozen):
    name: str
    type: str
    """boolean, integer, long, float, double, string, binary, datetime, array, object, map or any."""
    required: bool = True
    items: Column | None = None
    """Of an array's items, or of a map's values."""
    properties: list[Column] = []
    """Of an object."""

    @property
    def full_type(self) -> str:
        """With what is inside: `array of object (id: long; note: string, optional)`."""
        if self.type in ("array", "map"):
            return f"{self.type} of {self.items.full_type if self.items else 'anything'}"
        if self.type == "object" and self.properties:
            return f"object ({'; '.join(sorted(f'{inside.name}: {inside.told}' for inside in self.properties))})"
        return self.type

    @property
    def told(self) -> str:
        return self.full_type + ("" if self.required else ", optional")


class Tensor(Frozen):
    name: str = ""
    dtype: str
    shape: list[int]
    """-1: any length."""

    @property
    def told(self) -> str:
        return f"tensor of {self.dtype}, {' x '.join('any' if size < 0 else str(size) for size in self.shape) or 'a single value'}"


class ModelSignature(Frozen):
    """What goes in and what comes out; one of columns and tensors is empty for each."""

    columns: list[Column] = []
    tensors: list[Tensor] = []
    output_columns: list[Column] = []
    output_tensors: list[Tensor] = []

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def inputs(self) -> Sequence[Column | Tensor]:
        return [*self.columns, *self.tensors]

    @property
    def outputs(self) -> Sequence[Column | Tensor]:
        return [*self.output_columns, *self.output_tensors]


class Difference(NamedTuple):
    """One way in which a signature is not as the other's."""

    what: str
    """Such as `input distance`, or `order of inputs`."""
    kind: Kind
    now: str
    """Empty for what is added."""
    new: str
    """Empty for what is removed."""

    def __str__(self) -> str:
        sides = " -> ".join(side for side in (self.now, self.new) if side)
        return f"{self.what} {self.kind} ({sides})"


def signature_differences(now: ModelSignature, new: ModelSignature) -> list[Difference]:
    """How a candidate's signature differs from the one that serves: inputs first; empty when nobody who calls it could tell."""
    return [*_differences("input", now.inputs, new.inputs), *_differences("output", now.outputs, new.outputs)]


def listed(fields: Sequence[Column | Tensor]) -> str:
    """Names and types in their order."""
    return "; ".join(f"{name}: {field.told}" if name else field.told for name, field in _named(fields).items())


def _differences(side: str, before: Sequence[Column | Tensor], after: Sequence[Column | Tensor]) -> list[Difference]:
    now, new = _named(before), _named(after)
    found = []
    for name in dict.fromkeys([*new, *now]):
        what = f"{side} {name}".strip()
        if name not in now:
            found.append(Difference(what, "added", "", new[name].told))
        elif name not in new:
            found.append(Difference(what, "removed", now[name].told, ""))
        elif now[name].told != new[name].told:
            found.append(Difference(what, _kind(now[name], new[name]), now[name].told, new[name].told))
    # What is added or removed moves the others along; only those that both have can be in another order.
    ours, theirs = [name for name in now if name in new], [name for name in new if name in now]
    if ours != theirs:
        found.append(Difference(f"order of {side}s", "reordered", ", ".join(ours), ", ".join(theirs)))
    return found


def _kind(now: Column | Tensor, new: Column | Tensor) -> Kind:
    if isinstance(now, Column) and isinstance(new, Column) and now.full_type == new.full_type:
        return "now required" if new.required else "now optional"
    return "retyped"


def _named(fields: Sequence[Column | Tensor]) -> dict[str, Column | Tensor]:
    """By name, in order. A name that is there twice is told by its number; the only one may have none."""
    found: dict[str, Column | Tensor] = {}
    for field in fields:
        name, number = field.name, 1
        while name in found:
            number += 1
            name = f"{field.name} ({number})".strip()
        found[name] = field
    return found
