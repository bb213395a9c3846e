"""Digests of what is really in storage: every file of an artifact is read, in a stream, four at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pilotage.azure_errors import azure_errors
from pilotage.domain.assets import ArtifactDigest, BlobDigest
from pilotage.errors import NotFound, TooLarge
from pilotage.ports import ArtifactFile

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

    from pilotage.azureml.locations import BlobPath

STORAGE_ROLE = "Storage Blob Data Reader on the storage account"
READERS = 4
CHUNK = 4 * 1024 * 1024
"""Bytes held of one file: the readers together need READERS times as much."""
LIMITS: dict[str, Any] = {"connection_timeout": 20, "read_timeout": 60, "retry_total": 3, "initial_backoff": 1, "increment_base": 2,
                          "max_single_get_size": CHUNK, "max_chunk_get_size": CHUNK}


@dataclass(frozen=True)
class _File:
    blob: str
    path: str
    size: int
    etag: str


class Artifact:
    """The files at a path. `credential` is a token credential or a SAS query; None reads a public container."""

    def __init__(self, at: BlobPath, credential: Any) -> None:
        self._at, self._credential = at, credential

    def digest(self) -> ArtifactDigest:
        """Raises NotFound when there is no file, Conflict when one changes while it is read."""
        with self._container() as container:
            files = self._files(container)
            with azure_errors(f"read {self._at.url}/{self._at.path}", STORAGE_ROLE), ThreadPoolExecutor(READERS) as readers:
                return ArtifactDigest.of(_all(readers, lambda file: _digest(container, file), files))

    def read(self, limit: int) -> list[tuple[str, bytes]]:
        """(path, content) of every file, sorted by path. Raises TooLarge over `limit` bytes in all."""
        with self._container() as container:
            files = self._files(container)
            total = sum(file.size for file in files)
            if total > limit:
                raise TooLarge(f"{self._at.url}/{self._at.path} holds {total} bytes in {len(files)} files; the limit is {limit}")
            with azure_errors(f"read {self._at.url}/{self._at.path}", STORAGE_ROLE), ThreadPoolExecutor(READERS) as readers:
                contents = _all(readers, lambda file: b"".join(_chunks(container, file)), files)
        return sorted(zip([file.path for file in files], contents, strict=True))

    def contents(self) -> list[ArtifactFile]:
        """The files, sorted by path; none is read. Raises NotFound when there is none."""
        with self._container() as container:
            return sorted((ArtifactFile(path=file.path, size=file.size) for file in self._files(container)), key=lambda file: file.path)

    def read_file(self, path: str, limit: int) -> bytes:
        """One file. Raises NotFound, TooLarge over `limit` bytes."""
        with self._container() as container:
            found = next((file for file in self._files(container) if file.path == path), None)
            if found is None:
                raise NotFound(f"{self._at.url}/{self._at.path} holds no file {path}")
            if found.size > limit:
                raise TooLarge(f"{path} holds {found.size} bytes; the limit is {limit}")
            with azure_errors(f"read {self._at.url}/{found.blob}", STORAGE_ROLE):
                return b"".join(_chunks(container, found))

    @contextmanager
    def _container(self) -> Iterator[ContainerClient]:
        from azure.storage.blob import ContainerClient

        with ContainerClient(self._at.account_url, self._at.container, credential=self._credential, **LIMITS) as client:
            yield client

    def _files(self, container: ContainerClient) -> list[_File]:
        """The files below the path, or the one that it names."""
        root = self._at.path
        with azure_errors(f"list {self._at.url}/{root}", STORAGE_ROLE):
            found = list(_list(container, f"{root}/" if root else ""))
            if not found and root:
                found = [file for file in _list(container, root, root.rpartition("/")[0], first=True) if file.blob == root]
        if not found:
            raise NotFound(f"{self._at.url}/{root} holds no file")
        return found


def _list(container: ContainerClient, prefix: str, root: str | None = None, first: bool = False) -> Iterator[_File]:
    """Blobs with a prefix; their paths are below `root` (else below the prefix). `first`: at most one."""
    base = prefix if root is None else f"{root}/" if root else ""
    for blob in container.list_blobs(name_starts_with=prefix, include=["metadata"]):
        # A Data Lake account lists its directories as empty blobs with this mark.
        if (blob.metadata or {}).get("hdi_isfolder", "").casefold() != "true":
            yield _File(blob=blob.name, path=blob.name.removeprefix(base), size=blob.size, etag=blob.etag)
        if first:
            return


def _chunks(container: ContainerClient, file: _File) -> Iterator[bytes]:
    from azure.core import MatchConditions

    # The very version that was listed: a digest of two halves of different versions would mean nothing.
    stream = container.download_blob(file.blob, max_concurrency=1, etag=file.etag, match_condition=MatchConditions.IfNotModified)
    yield from stream.chunks()


def _digest(container: ContainerClient, file: _File) -> BlobDigest:
    checksum, size = hashlib.sha256(), 0
    for chunk in _chunks(container, file):
        checksum.update(chunk)
        size += len(chunk)
    return BlobDigest(path=file.path, size=size, sha256=checksum.hexdigest())


def _all[Result](readers: ThreadPoolExecutor, read: Callable[[_File], Result], files: list[_File]) -> list[Result]:
    """Results in the files' order; after the first error no further file is begun."""
    pending = [readers.submit(read, file) for file in files]
    try:
        return [future.result() for future in pending]
    except BaseException:
        for future in pending:
            future.cancel()
        raise
