"""The `Storage` of context.py: Azurite through the real azure-storage-blob."""

from __future__ import annotations

import builtins
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import ResourceExistsError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from requests.adapters import HTTPAdapter

from emulator.azurite import account_key
from emulator.certificates import STORAGE_SUFFIX

_TIMEOUT = 20
"""Seconds for one answer of Azurite."""


class AzuriteStorage:
    """One client an account, with the names that everybody uses, but not through the proxy.

    The proxy runs on this process's event loop, which a blocking call must never wait for.
    """

    def __init__(self, port: int, bundle: Path) -> None:
        self._session = requests.Session()
        self._session.trust_env, self._session.verify = False, str(bundle)
        self._session.mount("https://", _Direct(port))
        self._clients: dict[str, BlobServiceClient] = {}
        self._containers: set[tuple[str, str]] = set()
        self._lock = Lock()

    def account_key(self, account: str) -> str:
        return account_key(account)

    def blob_url(self, account: str, container: str, blob: str = "") -> str:
        return f"https://{account}.blob.{STORAGE_SUFFIX}/{container}" + (f"/{blob}" if blob else "")

    def sas(self, account: str, container: str, permissions: str = "rl", hours: int = 24) -> str:
        now = datetime.now(UTC)  # SAS keeps real time
        return generate_container_sas(
            account, container, account_key=account_key(account), permission=ContainerSasPermissions.from_string(permissions),
            start=now - timedelta(minutes=5), expiry=now + timedelta(hours=hours))

    def ensure_container(self, account: str, container: str) -> None:
        if (account, container) in self._containers:
            return
        with contextlib.suppress(ResourceExistsError):
            self._client(account).create_container(container)
        self._containers.add((account, container))

    def list(self, account: str, container: str, prefix: str) -> builtins.list[str]:
        return sorted(self._client(account).get_container_client(container).list_blob_names(name_starts_with=prefix))

    def read(self, account: str, container: str, blob: str) -> bytes:
        return self._client(account).get_blob_client(container, blob).download_blob().readall()

    def write(self, account: str, container: str, blob: str, data: bytes) -> None:
        self._client(account).get_blob_client(container, blob).upload_blob(data, overwrite=True)

    def download(self, account: str, container: str, prefix: str, target: Path) -> builtins.list[Path]:
        """Raises ValueError when a blob's name leads out of `target`."""
        written = []
        for name in self.list(account, container, prefix):
            relative = PurePosixPath(name[len(prefix):].lstrip("/") or PurePosixPath(name).name)
            if ".." in relative.parts:
                raise ValueError(f"blob {name!r} would be written outside of {target}")
            path = target.joinpath(*relative.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                self._client(account).get_blob_client(container, name).download_blob().readinto(file)
            written.append(path)
        return written

    def upload(self, account: str, container: str, prefix: str, source: Path) -> builtins.list[str]:
        self.ensure_container(account, container)
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        names = []
        for path in files:
            relative = path.name if source.is_file() else path.relative_to(source).as_posix()
            name = "/".join(part for part in (prefix.rstrip("/"), relative) if part)
            with path.open("rb") as file:
                self._client(account).get_blob_client(container, name).upload_blob(file, overwrite=True)
            names.append(name)
        return names

    def close(self) -> None:
        self._session.close()

    def _client(self, account: str) -> BlobServiceClient:
        with self._lock:
            if account not in self._clients:
                self._clients[account] = BlobServiceClient(
                    f"https://{account}.blob.{STORAGE_SUFFIX}", read_timeout=_TIMEOUT,
                    credential={"account_name": account, "account_key": account_key(account)},
                    transport=RequestsTransport(session=self._session, session_owner=False, connection_verify=self._session.verify))
            return self._clients[account]


class _Direct(HTTPAdapter):
    """Sends requests for any storage host to Azurite, which finds the account in the Host header."""

    def __init__(self, port: int) -> None:
        super().__init__(pool_maxsize=16)
        self._port = port

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        assert request.url is not None
        asked = urlsplit(request.url)
        request.headers["Host"] = asked.netloc
        request.url = asked._replace(netloc=f"127.0.0.1:{self._port}").geturl()
        return super().send(request, *arguments, **options)
