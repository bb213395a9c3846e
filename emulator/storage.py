"""The `Storage` of context.py: Azurite through the real azure-storage-blob."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from threading import Lock

import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from emulator.azurite import account_key
from emulator.certificates import STORAGE_SUFFIX


class AzuriteStorage:
    """One client an account, through the same proxy and names that everybody else uses."""

    def __init__(self, proxy: str, bundle: Path) -> None:
        self._proxies, self._bundle = {"https": proxy}, str(bundle)
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
        client = self._client(account).get_container_client(container)
        if not client.exists():
            client.create_container()
        self._containers.add((account, container))

    def list(self, account: str, container: str, prefix: str) -> list[str]:
        return sorted(self._client(account).get_container_client(container).list_blob_names(name_starts_with=prefix))

    def read(self, account: str, container: str, blob: str) -> bytes:
        return self._client(account).get_blob_client(container, blob).download_blob().readall()

    def write(self, account: str, container: str, blob: str, data: bytes) -> None:
        self._client(account).get_blob_client(container, blob).upload_blob(data, overwrite=True)

    def download(self, account: str, container: str, prefix: str, target: Path) -> list[Path]:
        written = []
        for name in self.list(account, container, prefix):
            relative = PurePosixPath(name[len(prefix):].lstrip("/") or PurePosixPath(name).name)
            if ".." in relative.parts:
                raise ValueError(f"blob {name!r} would be written outside of {target}")
            path = target.joinpath(*relative.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(account, container, name))
            written.append(path)
        return written

    def upload(self, account: str, container: str, prefix: str, source: Path) -> list[str]:
        self.ensure_container(account, container)
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        names = []
        for path in files:
            relative = path.name if source.is_file() else path.relative_to(source).as_posix()
            name = f"{prefix.rstrip('/')}/{relative}"
            self.write(account, container, name, path.read_bytes())
            names.append(name)
        return names

    def _client(self, account: str) -> BlobServiceClient:
        with self._lock:
            if account not in self._clients:
                session = requests.Session()
                session.trust_env, session.proxies, session.verify = False, dict(self._proxies), self._bundle
                self._clients[account] = BlobServiceClient(
                    f"https://{account}.blob.{STORAGE_SUFFIX}", credential={"account_name": account, "account_key": account_key(account)},
                    transport=RequestsTransport(session=session, session_owner=False, connection_verify=self._bundle))
            return self._clients[account]
