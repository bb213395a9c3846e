"""An event subscription as the management API writes it, from and to `SubscriptionConfig`.

Source: Microsoft.EventGrid 2022-06-15 of azure-rest-api-specs, and azure-mgmt-eventgrid's models. Properties that are
read-only or not known here are ignored, as there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from emulator.config import AdvancedFilter, DeliveryHeader, SubscriptionConfig
from emulator.event_grid.subscribing import Refused

FILTERS = 25
_NAME = re.compile(r"[A-Za-z0-9-]{3,64}")
_FUNCTION = re.compile(r"/providers/Microsoft\.Web/sites/[^/]+/functions/([^/]+)/?$", re.IGNORECASE)
_ACCOUNT = re.compile(r"/providers/Microsoft\.Storage/storageAccounts/([^/]+)/?$", re.IGNORECASE)
_AZURES = {"dead_letter_container": "deadLetterDestination.properties.blobContainerName", "headers":
           "destination.properties.deliveryAttributeMappings", "advanced_filters": "filter.advancedFilters"}
"""What Azure calls the fields of a SubscriptionConfig that has refused them."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="ignore", frozen=True)


class _AttributeSource(_Body):
    value: str | None = None
    is_secret: bool = False
    source_field: str | None = None


class _Attribute(_Body):
    name: str
    type: Literal["Static", "Dynamic"]
    properties: _AttributeSource = _AttributeSource()


class _DestinationProperties(_Body):
    endpoint_url: str | None = None
    resource_id: str | None = None
    max_events_per_batch: int = Field(1, ge=1, le=5000)
    preferred_batch_size_in_kilobytes: int = Field(64, ge=1, le=1024)
    delivery_attribute_mappings: list[_Attribute] | None = None


class _Destination(_Body):
    endpoint_type: str
    properties: _DestinationProperties = _DestinationProperties()


class _DeadLetterProperties(_Body):
    resource_id: str
    blob_container_name: str


class _DeadLetter(_Body):
    endpoint_type: Literal["StorageBlob"]
    properties: _DeadLetterProperties


class _WithIdentity(_Body):
    """deliveryWithResourceIdentity or deadLetterWithResourceIdentity: the identity itself changes nothing here."""

    destination: _Destination | None = None
    dead_letter_destination: _DeadLetter | None = None


class _Filter(_Body):
    subject_begins_with: str | None = None
    subject_ends_with: str | None = None
    included_event_types: list[str] | None = None
    is_subject_case_sensitive: bool | None = None
    enable_advanced_filtering_on_arrays: bool | None = None
    advanced_filters: list[dict[str, Any]] | None = None


class _RetryPolicy(_Body):
    max_delivery_attempts: int | None = Field(None, ge=1, le=30)
    event_time_to_live_in_minutes: int | None = Field(None, ge=1, le=1440)


class _Properties(_Body):
    destination: _Destination | None = None
    delivery_with_resource_identity: _WithIdentity | None = None
    filter: _Filter | None = None
    labels: list[str] | None = None
    expiration_time_utc: datetime | None = None
    event_delivery_schema: Literal["EventGridSchema", "CloudEventSchemaV1_0"] | None = None
    retry_policy: _RetryPolicy | None = None
    dead_letter_destination: _DeadLetter | None = None
    dead_letter_with_resource_identity: _WithIdentity | None = None


def parse_properties(name: str, topic: str, properties: Any, *, input_schema: str, now: datetime,
                     accounts: tuple[str, ...]) -> SubscriptionConfig:
    """A body's `properties`; raises Refused.

    `topic` is what the subscription calls its topic, `input_schema` the topic's, `accounts` are the storage accounts
    that there are, `now` is virtual.
    """
    if not _NAME.fullmatch(name):
        raise Refused("InvalidRequest", "The event subscription name must be 3 - 64 characters long, and contain only letters, numbers "
                                        f"and hyphens: {name!r}")
    if not isinstance(properties, Mapping):
        raise Refused("InvalidRequest", "The property 'properties' is missing, or is not an object")
    try:
        body = _Properties.model_validate(properties)
        return SubscriptionConfig.model_validate({
            "name": name, "topics": (topic,), "delivery_schema": _delivery_schema(body, input_schema), "labels": body.labels or (),
            "expires": _expires(body, now), **_destination(body), **_filters(body.filter or _Filter()), **_retries(body.retry_policy),
            **_dead_letters(body, accounts)})
    except ValidationError as error:
        raise Refused("InvalidRequest", _said(error)) from error


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(_AZURES.get(str(part), str(part)) for part in first["loc"])
    return f"The property 'properties{'.' + place if place else ''}' is invalid: {first['msg'].removeprefix('Value error, ')}"


def _delivery_schema(body: _Properties, input_schema: str) -> str:
    """CloudEvents can't be delivered in Event Grid's schema: Azure's table of input and output schemas."""
    takes_cloud = input_schema == "CloudEventSchemaV1_0"
    schema = body.event_delivery_schema or ("CloudEventSchemaV1_0" if takes_cloud else "EventGridSchema")
    if takes_cloud and schema == "EventGridSchema":
        raise Refused("InvalidRequest", "The event delivery schema EventGridSchema is not supported for a topic whose input schema is "
                                        "CloudEventSchemaV1_0")
    return schema


def _expires(body: _Properties, now: datetime) -> datetime | None:
    moment = body.expiration_time_utc
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise Refused("InvalidRequest", f"The expirationTimeUtc {moment.isoformat()} must be in the future")
    return moment


def _destination(body: _Properties) -> dict[str, Any]:
    with_identity = body.delivery_with_resource_identity
    destination = body.destination or (with_identity.destination if with_identity else None)
    if destination is None:
        raise Refused("InvalidRequest", "The property 'properties.destination' is missing")
    given = destination.properties
    found: dict[str, Any] = {
        "max_events_per_batch": given.max_events_per_batch, "preferred_batch_size_in_kilobytes": given.preferred_batch_size_in_kilobytes,
        "headers": [_header(mapping) for mapping in given.delivery_attribute_mappings or ()]}
    match destination.endpoint_type:
        case "WebHook":
            return found | {"endpoint": _checked_url(given.endpoint_url)}
        case "AzureFunction":
            function = _FUNCTION.search(given.resource_id or "")
            if function is None:
                raise Refused("InvalidRequest", "The resourceId of an AzureFunction destination ends with "
                                                "/providers/Microsoft.Web/sites/{app}/functions/{function}")
            return found | {"function": function[1]}
        case other:
            raise Refused("InvalidRequest", f"The destination type {other!r} is not one that the local platform delivers to: WebHook and "
                                            "AzureFunction are")


def _header(mapping: _Attribute) -> DeliveryHeader:
    given = mapping.properties
    if mapping.type == "Static":
        return DeliveryHeader(name=mapping.name, value=given.value or "", is_secret=given.is_secret)
    return DeliveryHeader(name=mapping.name, source_field=given.source_field)


def _checked_url(url: str | None) -> str:
    """Azure takes https only; on one machine there is no need for it."""
    try:
        parts = urlsplit(url or "")
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise Refused("InvalidRequest", f"The endpointUrl {url!r} is not an address: {error}") from error
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise Refused("InvalidRequest", "The endpointUrl of a WebHook destination must be an https address (http on this machine only)")
    return url or ""


def _filters(body: _Filter) -> dict[str, Any]:
    given = body.advanced_filters or []
    if len(given) > FILTERS:
        raise Refused("InvalidRequest", f"The maximum number of advanced filters allowed is {FILTERS}.")
    types = body.included_event_types or []
    return {
        "event_types": () if [text.casefold() for text in types] == ["all"] else types,
        "subject_begins_with": body.subject_begins_with or "", "subject_ends_with": body.subject_ends_with or "",
        "subject_case_sensitive": bool(body.is_subject_case_sensitive),
        "filtering_on_arrays": bool(body.enable_advanced_filtering_on_arrays),
        "advanced_filters": [_advanced(number, rule) for number, rule in enumerate(given)]}


def _advanced(number: int, rule: dict[str, Any]) -> AdvancedFilter:
    try:
        return AdvancedFilter.model_validate({
            "operator": rule.get("operatorType"), "key": rule.get("key"), "value": rule.get("value"), "values": rule.get("values") or ()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = {"operator": ".operatorType"}.get(str((first["loc"] or ("",))[0]), "".join(f".{part}" for part in first["loc"]))
        raise Refused("InvalidRequest", f"The property 'properties.filter.advancedFilters[{number}]{place}' is invalid: "
                                        f"{first['msg'].removeprefix('Value error, ')}") from error


def _retries(body: _RetryPolicy | None) -> dict[str, int]:
    given = {"max_attempts": body.max_delivery_attempts, "ttl_minutes": body.event_time_to_live_in_minutes} if body else {}
    return {name: value for name, value in given.items() if value is not None}


def _dead_letters(body: _Properties, accounts: tuple[str, ...]) -> dict[str, Any]:
    with_identity = body.dead_letter_with_resource_identity
    given = body.dead_letter_destination or (with_identity.dead_letter_destination if with_identity else None)
    if given is None:
        return {"dead_letter": False}
    account = _ACCOUNT.search(given.properties.resource_id)
    if account is None or account[1] not in accounts:
        raise Refused("InvalidRequest", f"The deadLetterDestination's resourceId {given.properties.resource_id!r} is no storage account of "
                                        f"the platform: there are {', '.join(accounts)}")
    return {"dead_letter": True, "dead_letter_account": account[1], "dead_letter_container": given.properties.blob_container_name}


# --- as Azure describes it ------------------------------------------------------------------------------


def described(config: SubscriptionConfig, storage_id: str, function_app_id: str, account: str, container: str, *,
              secrets: bool = False) -> dict[str, Any]:
    """`properties` without `topic` and `provisioningState`; `secrets`: with what only another PUT would need.

    `storage_id` and `function_app_id` are ARM ids without the last name; `account` and `container` hold the dead letters
    of a subscription that names no others.
    """
    found: dict[str, Any] = {
        "destination": _described_destination(config, function_app_id, secrets),
        "filter": _described_filter(config), "labels": list(config.labels), "eventDeliverySchema": config.delivery_schema,
        "retryPolicy": {"maxDeliveryAttempts": config.max_attempts, "eventTimeToLiveInMinutes": config.ttl_minutes}}
    if config.expires is not None:
        found["expirationTimeUtc"] = config.expires.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if config.dead_letter:
        found["deadLetterDestination"] = {"endpointType": "StorageBlob", "properties": {
            "resourceId": f"{storage_id}/{config.dead_letter_account or account}",
            "blobContainerName": config.dead_letter_container or container}}
    return found


def _described_destination(config: SubscriptionConfig, function_app_id: str, secrets: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {"maxEventsPerBatch": config.max_events_per_batch,
                                  "preferredBatchSizeInKilobytes": config.preferred_batch_size_in_kilobytes}
    if config.headers:
        properties["deliveryAttributeMappings"] = described_headers(config, secrets)
    if config.function is not None:
        return {"endpointType": "AzureFunction",
                "properties": {"resourceId": f"{function_app_id}/functions/{config.function}", **properties}}
    url = config.endpoint or ""
    address = {"endpointUrl": url} if secrets else {"endpointBaseUrl": url.partition("?")[0]}
    return {"endpointType": "WebHook", "properties": {**address, **properties}}


def described_headers(config: SubscriptionConfig, secrets: bool) -> list[dict[str, Any]]:
    """The delivery attribute mappings; the value of a secret one is hidden."""
    return [
        {"name": header.name, "type": "Dynamic", "properties": {"sourceField": header.source_field}} if header.source_field is not None else
        {"name": header.name, "type": "Static", "properties": {
            "value": "Hidden" if header.is_secret and not secrets else header.value, "isSecret": header.is_secret}}
        for header in config.headers]


def _described_filter(config: SubscriptionConfig) -> dict[str, Any]:
    rules = []
    for rule in config.advanced_filters:
        operands = {"values": json.loads(json.dumps(rule.values))} if rule.values else {} if rule.value is None else {"value": rule.value}
        rules.append({"operatorType": rule.operator, "key": rule.key, **operands})
    return {
        "subjectBeginsWith": config.subject_begins_with, "subjectEndsWith": config.subject_ends_with,
        "isSubjectCaseSensitive": config.subject_case_sensitive, "enableAdvancedFilteringOnArrays": config.filtering_on_arrays,
        **({"includedEventTypes": list(config.event_types)} if config.event_types else {}),
        **({"advancedFilters": rules} if rules else {})}
