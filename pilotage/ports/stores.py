"""Where evidence and state are kept, and what signs the evidence. See `pilotage.ports` for what every method may raise."""

from __future__ import annotations

from typing import Any, Protocol

from pilotage.domain.signatures import Jwk, Signature


class Records(Protocol):
    """Create-only records (Azure Storage blobs in production)."""

    def create(self, name: str, content: bytes) -> bool:
        """True: created. False: it exists with the same bytes. Raises Conflict when the bytes differ."""

    def read(self, name: str) -> bytes | None: ...

    def names(self, prefix: str, limit: int | None = None) -> list[str]:
        """Names under a prefix, sorted."""

    def delete(self, name: str) -> None:
        """Only for markers of the outbox: evidence is never deleted. Absent is fine."""


class Rows(Protocol):
    """Small mutable rows with optimistic concurrency (an Azure table in production)."""

    def get(self, table: str, key: str) -> tuple[dict[str, Any], str] | None:
        """The row's JSON value and its etag."""

    def put(self, table: str, key: str, value: dict[str, Any], etag: str | None, columns: dict[str, str] | None = None) -> None:
        """Insert (etag None) or replace exactly the version of the etag. Raises Conflict when somebody else was first.

        `columns` are short texts to filter by in `scan`.
        """

    def scan(self, table: str, where: dict[str, str] | None = None, limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
        """Values whose columns equal `where`, in the order of their keys, from behind the key `after` on."""


class Signer(Protocol):
    """The key that signs passports. Raises Unavailable and Throttled as every port."""

    def public_key(self) -> Jwk:
        """P-256, without a name: it is named by its thumbprint."""

    def sign(self, content: bytes) -> Signature:
        """ES256 over the content."""
