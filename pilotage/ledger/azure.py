"""The ledger's stores in Azure Storage: block blobs for records, one table for rows.

Roles: Storage Blob Data Contributor and Storage Table Data Contributor on the account.
The SDKs retry a few times by themselves; a write whose answer was lost then looks like a conflict,
which is why both stores compare what is there, and why `changes.change` decides again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from pilotage.azure_errors import azure_errors
from pilotage.credentials import credential
from pilotage.errors import Conflict

if TYPE_CHECKING:
    from azure.data.tables import TableClient
    from azure.storage.blob import ContainerClient

BLOB_ROLE = "Storage Blob Data Contributor"
TABLE_ROLE = "Storage Table Data Contributor"
IMMUTABLE = "BlobImmutableDueToPolicy"
TIMEOUT = 20
"""Seconds to connect, and to wait for the first byte."""
# The blob client would wait 15 s before its first retry; Event Grid waits 30 s for the whole answer.
BLOB_RETRIES: dict[str, Any] = {"retry_total": 3, "retry_connect": 2, "retry_read": 2, "retry_status": 3,
                                "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1}
TABLE_RETRIES: dict[str, Any] = {"retry_total": 3, "retry_connect": 2, "retry_read": 2, "retry_status": 3, "retry_backoff_max": 4}
PAGE = 1000
"""Rows that the service sends at once."""
CHUNK = 30_000
"""Characters of a row's JSON in one property: a table's limit is 32 Ki of UTF-16."""
CHUNKS = 15
"""Properties that a row's JSON may take: an entity's limit is 1 MiB."""

_lock = Lock()


class BlobRecords:
    """Create-only records as block blobs; the container is made when the first record is."""

    def __init__(self, account_url: str, container: str) -> None:
        self._url, self._container_name = account_url, container

    @cached_property
    def _container(self) -> ContainerClient:
        from azure.storage.blob import ContainerClient

        with azure_errors(f"open {self._url}", BLOB_ROLE):
            return ContainerClient(self._url, self._container_name, credential=credential(), connection_timeout=TIMEOUT,
                                   read_timeout=TIMEOUT, **BLOB_RETRIES)

    def create(self, name: str, content: bytes) -> bool:
        """True: created. False: it exists with the same bytes. Raises Conflict when the bytes differ."""
        from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

        with azure_errors(f"write record {name}", BLOB_ROLE):
            try:
                try:
                    self._upload(name, content)
                except ResourceNotFoundError:
                    self._make_container()
                    self._upload(name, content)
                return True
            except ResourceExistsError:
                pass
            except HttpResponseError as error:
                # Where an immutability policy holds, what is there may be refused under its name before the condition's.
                if str(getattr(error, "error_code", "")) != IMMUTABLE:
                    raise
        if self.read(name) == content:
            return False
        raise Conflict(f"record {name} exists with another content")

    def read(self, name: str) -> bytes | None:
        from azure.core.exceptions import ResourceNotFoundError

        with azure_errors(f"read record {name}", BLOB_ROLE):
            try:
                return self._container.download_blob(name, timeout=TIMEOUT).readall()
            except ResourceNotFoundError:
                return None

    def names(self, prefix: str, limit: int | None = None) -> list[str]:
        """Names under a prefix, sorted: the service lists in that order."""
        from azure.core.exceptions import ResourceNotFoundError

        found: list[str] = []
        with azure_errors(f"list records {prefix}", BLOB_ROLE):
            try:
                for name in self._container.list_blob_names(name_starts_with=prefix, timeout=TIMEOUT):
                    if limit is not None and len(found) == limit:
                        break
                    found.append(name)
            except ResourceNotFoundError:
                return []
        return found

    def delete(self, name: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        with azure_errors(f"delete marker {name}", BLOB_ROLE):
            try:
                self._container.delete_blob(name, timeout=TIMEOUT)
            except ResourceNotFoundError:
                return

    def _upload(self, name: str, content: bytes) -> None:
        from azure.storage.blob import ContentSettings

        # overwrite=False is If-None-Match: *, which the service decides, whoever else writes.
        self._container.upload_blob(name, content, overwrite=False, timeout=TIMEOUT,
                                    content_settings=ContentSettings(content_type="application/json"))

    def _make_container(self) -> None:
        from azure.core.exceptions import ResourceExistsError

        try:
            self._container.create_container(timeout=TIMEOUT)
        except ResourceExistsError:
            return


class TableRows:
    """Rows as entities of one table: the partition is the row's kind, the value JSON in as many properties as it takes."""

    def __init__(self, account_url: str, table: str) -> None:
        self._url, self._table_name = account_url, table

    @cached_property
    def _table(self) -> TableClient:
        from azure.data.tables import TableClient

        with azure_errors(f"open {self._url}", TABLE_ROLE):
            return TableClient(self._url, self._table_name, credential=credential(), connection_timeout=TIMEOUT,
                               read_timeout=TIMEOUT, **TABLE_RETRIES)

    def get(self, table: str, key: str) -> tuple[dict[str, Any], str] | None:
        """The row's JSON value and its etag."""
        from azure.core.exceptions import ResourceNotFoundError

        with azure_errors(f"read row {table}/{key}", TABLE_ROLE):
            try:
                entity = self._table.get_entity(table, row_key(key))
            except ResourceNotFoundError:
                return None
        return _value(entity), str(entity.metadata["etag"])

    def put(self, table: str, key: str, value: dict[str, Any], etag: str | None, columns: dict[str, str] | None = None) -> None:
        """Insert (etag None) or replace exactly the version of the etag. Raises Conflict when somebody else was first."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
        from azure.data.tables import UpdateMode

        entity = {"PartitionKey": table, "RowKey": row_key(key), **_properties(value), **_columns(columns)}
        with azure_errors(f"write row {table}/{key}", TABLE_ROLE):
            try:
                if etag is None:
                    self._create(lambda: self._table.create_entity(entity))
                else:
                    self._table.update_entity(entity, mode=UpdateMode.REPLACE, etag=etag,
                                              match_condition=MatchConditions.IfNotModified)
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict(f"row {table}/{key} was written by somebody else meanwhile") from error

    def scan(self, table: str, where: dict[str, str] | None = None, limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
        """Values whose columns equal `where`, in the order of their keys, from behind the key `after` on."""
        from azure.core.exceptions import ResourceNotFoundError

        parameters = {"table": table, "after": row_key(after)} | {f"p{at}": value for at, value in enumerate((where or {}).values())}
        terms = ["PartitionKey eq @table", "RowKey gt @after"] + [f"{_column(name)} eq @p{at}" for at, name in enumerate(where or {})]
        found: list[dict[str, Any]] = []
        with azure_errors(f"read rows of {table}", TABLE_ROLE):
            try:
                for entity in self._table.query_entities(" and ".join(terms), parameters=parameters,
                                                          results_per_page=min(limit, PAGE)):
                    if len(found) == limit:
                        break
                    found.append(_value(entity))
            except ResourceNotFoundError:
                return []
        return found

    def _create(self, insert: Callable[[], Any]) -> None:
        """Insert an entity, and the table before the first one."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        try:
            insert()
        except ResourceNotFoundError:
            with _lock, suppress(ResourceExistsError):  # one of our threads is enough
                self._table.create_table()
            insert()


def row_key(key: str) -> str:
    """A key that a table accepts: letters, digits, `.`, `_`, `-` and `:` stand for themselves, other bytes as `~hh`."""
    return re.sub(r"[^A-Za-z0-9._:-]", lambda match: "".join(f"~{byte:02x}" for byte in match[0].encode()), key)


def _properties(value: dict[str, Any]) -> dict[str, str]:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)  # ASCII: one character is one UTF-16 unit
    parts = [text[at:at + CHUNK] for at in range(0, len(text), CHUNK)]
    if len(parts) > CHUNKS:
        raise ValueError(f"a row of {len(text)} characters is too large: the limit is {CHUNK * CHUNKS}")
    return {f"json{at:02d}": part for at, part in enumerate(parts)}


def _value(entity: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads("".join(entity[name] for name in sorted(entity) if re.fullmatch(r"json\d\d", name)))


def _columns(columns: dict[str, str] | None) -> dict[str, str]:
    return {_column(name): value for name, value in (columns or {}).items()}


def _column(name: str) -> str:
    """Prefixed, so that a column can't be taken for the value or for the table's own properties."""
    return f"column_{name}"
