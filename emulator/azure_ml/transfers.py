"""Moving an asset's bytes: to a local folder, or between storage accounts. Blocking: call in threads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from emulator.azure_ml.errors import OperationFailed
from emulator.azure_ml.locations import BlobLocation
from emulator.context import Storage


def blobs(storage: Storage, location: BlobLocation) -> dict[str, str]:
    """The blobs at a location: name relative to it -> full name; a single blob under its own last name."""
    names = storage.list(location.account, location.container, location.path)
    if not location.path:
        return {name: name for name in names}
    prefix = location.path + "/"
    # A prefix also finds siblings that merely begin alike: model and model-2.
    found = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    return found or ({location.name: location.path} if location.path in names else {})


def fetch(storage: Storage, location: BlobLocation, target: Path) -> Path:
    """Download a location into the folder `target`, once; returns what a container would have mounted.

    A folder comes out as `target/<its name>`, a single blob as the file `target/<its name>`. Complete or
    absent: it is filled beside `target` and renamed. Raises `OperationFailed` when nothing is there.
    """
    mounted = target / location.name
    if mounted.exists():
        return mounted
    found = blobs(storage, location)
    if not found:
        raise OperationFailed(f"No blob was found at {location.url}.", code="BadArgument")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        single = list(found.values()) == [location.path]
        for relative, name in found.items():
            if ".." in PurePosixPath(relative).parts:
                raise OperationFailed(
                    f"The blob {name} would be written outside of its folder.", code="BadArgument"
                )
            path = staging / relative if single else staging / location.name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(storage.read(location.account, location.container, name))
        if target.exists():  # left by a fetch that was cut short, or another one was faster
            if mounted.exists():
                return mounted
            shutil.rmtree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return mounted


def copy(storage: Storage, source: BlobLocation, destination: BlobLocation) -> int:
    """Copy every blob of a location to another account; the number of blobs.

    May be repeated: blobs are overwritten with the same bytes. Raises `OperationFailed` when there are none.
    """
    found = blobs(storage, source)
    if not found:
        raise OperationFailed(f"No blob was found at {source.url}.", code="BadArgument")
    storage.ensure_container(destination.account, destination.container)
    single = list(found.values()) == [source.path]
    for relative, name in found.items():
        target = destination.path if single else f"{destination.path}/{relative}".lstrip("/")
        data = storage.read(source.account, source.container, name)
        storage.write(destination.account, destination.container, target, data)
    return len(found)
