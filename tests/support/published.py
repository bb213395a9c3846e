"""Whether a document has the shape that Microsoft publishes for it.

The published description of Microsoft.MachineLearningServices is on this machine already: azure-ai-ml carries the models
that are generated from it (`azure.ai.ml._restclient.arm_ml_service`, api-version 2025-12-01), with names on the wire,
required properties, enumerations and discriminators. This walks them; it is no validator of ours.
"""

from __future__ import annotations

import datetime
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

_SCALARS: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,), object: (object,)}
_TEXTS = (datetime.datetime, datetime.date, datetime.timedelta, bytes)
_ADDED = {"@odata.type", "_etag", "etag"}


def problems(model: str, document: Mapping[str, Any], known_extras: frozenset[str] = frozenset()) -> list[str]:
    """What of a resource differs from the model of that name: required properties that are missing, values of another type
    or outside their enumeration, properties that nobody published (but `known_extras`, dotted paths)."""
    from azure.ai.ml._restclient.arm_ml_service import models

    return [found for found in _walk(getattr(models, model), document, "") if found.partition(":")[0] not in known_extras]


def _walk(model: Any, document: Any, path: str) -> Iterator[str]:
    if not isinstance(document, Mapping):
        yield f"{path}: expected an object, not {type(document).__name__}"
        return
    model = _chosen(model, document)
    hints = _hints(model)
    fields = {field._rest_name: (hints[name], field) for name, field in model(dict(document))._attr_to_rest_field.items()}
    for name, (hint, field) in fields.items():
        where = f"{path}.{name}".lstrip(".")
        if document.get(name) is None:
            if not _is_optional(hint) and "read" in (field._visibility or ["read"]):
                yield f"{where}: required, and missing"
        else:
            yield from _value(hint, document[name], where)
    for name in document.keys() - fields.keys() - _ADDED:
        yield f"{f'{path}.{name}'.lstrip('.')}: not a published property of {model.__name__}"


def _chosen(model: Any, document: Mapping[str, Any]) -> Any:
    """The subclass that the document's discriminator names."""
    while True:
        discriminator = next((field for field in _fields(model).values() if field._is_discriminator), None)
        if discriminator is None:
            return model
        chosen = model.__mapping__.get(document.get(discriminator._rest_name))
        if chosen is None or chosen is model:
            return model
        model = chosen


def _fields(model: Any) -> dict[str, Any]:
    found = getattr(model, "_attr_to_rest_field", None)
    return found if found is not None else model()._attr_to_rest_field  # computed by the first instance


def _hints(model: Any) -> dict[str, Any]:
    from azure.ai.ml._restclient.arm_ml_service import models

    names = {**vars(typing), **vars(datetime), "_models": models, "datetime": datetime}
    hints: dict[str, Any] = {}
    for base in reversed(model.__mro__):
        found = vars(base).get("__annotations__", {})
        hints |= {name: eval(hint, names) if isinstance(hint, str) else hint for name, hint in found.items()}
    return hints


def _is_optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _value(hint: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(hint, typing.ForwardRef):
        hint = _resolve(hint.__forward_arg__)
    elif isinstance(hint, str):
        hint = _resolve(hint)
    origin, arguments = typing.get_origin(hint), [item for item in typing.get_args(hint) if item is not type(None)]
    if origin in (typing.Union, types.UnionType):
        yield from _union(arguments, value, path)
    elif origin is typing.Literal:
        if value not in [getattr(item, "value", item) for item in arguments]:
            yield f"{path}: {value!r} is not {arguments}"
    elif origin is dict:
        if not isinstance(value, Mapping):
            yield f"{path}: expected an object, not {type(value).__name__}"
        else:
            for name, item in value.items():
                yield from () if item is None else _value(arguments[1], item, f"{path}.{name}")
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: expected a list, not {type(value).__name__}"
        else:
            for number, item in enumerate(value):
                yield from _value(arguments[0], item, f"{path}[{number}]")
    elif hint in _TEXTS:
        if not isinstance(value, str):
            yield f"{path}: expected text, not {type(value).__name__}"
    elif isinstance(hint, type) and hint in _SCALARS:
        if not isinstance(value, _SCALARS[hint]) or (isinstance(value, bool) and hint in (int, float)):
            yield f"{path}: expected {hint.__name__}, not {type(value).__name__}"
    elif isinstance(hint, type) and hasattr(hint, "_is_model"):
        yield from _walk(hint, value, path)


def _union(options: list[Any], value: Any, path: str) -> Iterator[str]:
    resolved = [_resolve(item.__forward_arg__) if isinstance(item, typing.ForwardRef) else _resolve(item) for item in options]
    enumeration = next((item for item in resolved if isinstance(item, type) and issubclass(item, Enum)), None)
    if enumeration is not None:  # Union[str, Enum]: known values; the service uses no other
        if value not in [item.value for item in enumeration]:
            yield f"{path}: {value!r} is none of {', '.join(str(item.value) for item in enumeration)}"
        return
    found = [list(_value(item, value, path)) for item in resolved]
    if all(found):
        yield from min(found, key=len)


def _resolve(hint: Any) -> Any:
    from azure.ai.ml._restclient.arm_ml_service import models

    if not isinstance(hint, str):
        return hint
    return eval(hint, {**vars(typing), "_models": models, "datetime": datetime})
