"""What azure-functions-runtime 1.3.0 needs of the FunctionRpc protobuf module.

In Azure the host hands that module in through `request.properties["protos"]`; the package does not bring it. These
are plain classes with the same names, fields and defaults, only those that the package touches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Message:
    """A message whose fields are class-level defaults; a callable default is made anew for each message."""

    fields: dict[str, Any] = {}

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - self.fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)}")
        for name, default in self.fields.items():
            value = values.get(name)
            setattr(self, name, value if value is not None else default() if callable(default) else default)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"


def _message(_name: str, /, **fields: Any | Callable[[], Any]) -> Any:
    return type(_name, (Message,), {"fields": fields})


RpcException = _message("RpcException", message="", stack_trace="", source="", type="")
StatusResult = _message("StatusResult", status=0, exception=None, result="")
StatusResult.Failure, StatusResult.Success, StatusResult.Cancelled = 0, 1, 2
WorkerMetadata = _message("WorkerMetadata", runtime_name="", runtime_version="", worker_version="", worker_bitness="",
                          custom_properties=dict)
WorkerInitResponse = _message("WorkerInitResponse", capabilities=dict, worker_metadata=None, result=None)
FunctionMetadataResponse = _message("FunctionMetadataResponse", use_default_metadata_indexing=False, function_metadata_results=list,
                                    result=None)
FunctionLoadResponse = _message("FunctionLoadResponse", function_id="", result=None)
FunctionEnvironmentReloadResponse = _message("FunctionEnvironmentReloadResponse", capabilities=dict, worker_metadata=None, result=None)
InvocationResponse = _message("InvocationResponse", invocation_id="", return_value=None, result=None, output_data=list)
BindingInfo = _message("BindingInfo", type="", data_type=0, direction=0)
BindingInfo.out, BindingInfo.inout, BindingInfo.undefined = 1, 2, 0
RpcRetryOptions = _message("RpcRetryOptions", max_retry_count=0, retry_strategy="", delay_interval=None, minimum_interval=None,
                           maximum_interval=None)
RpcFunctionMetadata = _message("RpcFunctionMetadata", name="", function_id="", managed_dependency_enabled=False, directory="",
                               script_file="", entry_point="", is_proxy=False, language="", bindings=dict, raw_bindings=list,
                               retry_options=None, properties=dict)
RpcHttp = _message("RpcHttp", method="", url="", headers=dict, body=None, params=dict, query=dict, status_code="", cookies=list,
                   enable_content_negotiation=False)
RpcHttpCookie = _message("RpcHttpCookie", name="", value="", domain=None, path=None, expires=None, secure=None, http_only=None,
                         same_site=0, max_age=None)
RpcHttpCookie.SameSite = type("SameSite", (), {"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})
NullableString = _message("NullableString", value=None)
NullableBool = _message("NullableBool", value=None)
NullableDouble = _message("NullableDouble", value=None)
NullableTimestamp = _message("NullableTimestamp", value=None)


class TypedData:
    """One value and its kind: `string`, `json`, `bytes`, `http`, ..."""

    __slots__ = ("_kind", "_value")

    def __init__(self, **value: Any) -> None:
        self._kind: str = next(iter(value), "")
        self._value: Any = value.get(self._kind)

    def WhichOneof(self, group: str) -> str | None:
        return self._kind or None

    def __getattr__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "_kind"):
            return object.__getattribute__(self, "_value")
        raise AttributeError(name)


class ParameterBinding(Message):
    fields = {"name": "", "data": None}

    def WhichOneof(self, group: str) -> str:
        return "data"
