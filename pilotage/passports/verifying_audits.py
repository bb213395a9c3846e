"""Verifying the zip of an audit, anywhere: the manifest's signature, every member by its digest, every passport by itself."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from zipfile import BadZipFile, ZipFile

from pilotage.domain.signatures import Jwk, manifest_content, thumbprint
from pilotage.passports.audit import FORMAT, MANIFEST
from pilotage.passports.verifying import check_signature, no_doubles, verify

BEGINS = b"PK\x03\x04"
"""The first bytes of a zip."""
MEMBER_LIMIT = 64 * 1024 * 1024
"""Bytes of one member, unpacked; the largest passports have some hundred thousand."""
_SIGNED = ("format", "from", "to", "exported_at", "passports", "passports_in_ledger", "files")


@dataclass
class AuditVerdict:
    """What a zip is worth."""

    period: str = ""
    problems: list[str] = field(default_factory=list)
    passports: int = 0
    entries: int = 0
    keys: list[str] = field(default_factory=list)
    """Thumbprints of the keys that signed."""
    trusted: bool = False
    """True when all of them are among the keys that the reader trusts."""

    @property
    def sound(self) -> bool:
        return not self.problems


def verify_audit(content: bytes, trusted: Mapping[str, Jwk] | None = None) -> AuditVerdict:
    """Every problem of a zip. `trusted`: keys by thumbprint."""
    verdict = AuditVerdict()
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            _verify(archive, verdict)
    except (BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        verdict.problems.append(f"the zip can't be read: {type(error).__name__}: {str(error)[:200]}")
    verdict.keys = sorted(set(verdict.keys))
    if trusted is not None:
        strangers = [kid for kid in verdict.keys if kid not in trusted]
        verdict.problems += [f"it is signed by {kid}, which is not among the keys you trust" for kid in strangers]
        verdict.trusted = not strangers
    return verdict


def _verify(archive: ZipFile, verdict: AuditVerdict) -> None:
    names = archive.namelist()
    verdict.problems += [f"{name}: is in the zip twice" for name in sorted({name for name in names if names.count(name) > 1})]
    members = {name: content for name in dict.fromkeys(names) if (content := _read(archive, name, verdict)) is not None}
    try:
        manifest = json.loads(members[MANIFEST], object_pairs_hook=no_doubles)
        if manifest.get("format") != FORMAT or manifest.keys() != {*_SIGNED, "signature"}:
            raise ValueError(f"it is none of {FORMAT}")
        files = {str(file["name"]): str(file["sha256"]) for file in manifest["files"]}
        if len(files) != len(manifest["files"]):
            raise ValueError("a file is named twice")
        keys = {thumbprint(jwk): jwk for jwk in json.loads(members["keys.json"])["keys"]}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        verdict.problems.append(f"{MANIFEST}: can't be used: {type(error).__name__}: {str(error)[:200]}")
        return
    verdict.period = f"{manifest['from']} to {manifest['to']}"
    check_signature(MANIFEST, manifest["signature"], manifest_content({name: manifest[name] for name in _SIGNED}), keys, verdict)
    verdict.problems += [f"{name}: is missing" for name in sorted(files.keys() - members.keys())]
    verdict.problems += [f"{name}: is not in the manifest" for name in sorted(members.keys() - files.keys() - {MANIFEST})]
    for name in sorted(files.keys() & members.keys()):
        if hashlib.sha256(members[name]).hexdigest() != files[name]:
            verdict.problems.append(f"{name}: is not what the manifest says")
        if name.startswith("passports/"):
            _passport(name, members[name], verdict)
    if verdict.passports != manifest["passports"]:
        verdict.problems.append(f"{MANIFEST}: it counts {manifest['passports']} passports; here are {verdict.passports}")


def _passport(name: str, content: bytes, verdict: AuditVerdict) -> None:
    found = verify(content)
    verdict.passports += 1
    verdict.entries += found.entries
    verdict.keys += found.keys
    verdict.problems += [f"{name}: {problem}" for problem in found.problems]
    if name != f"passports/{found.passport.replace(':', '~')}.json":
        verdict.problems.append(f"{name}: holds the passport {found.passport}")


def _read(archive: ZipFile, name: str, verdict: AuditVerdict) -> bytes | None:
    if archive.getinfo(name).file_size > MEMBER_LIMIT:
        verdict.problems.append(f"{name}: is larger than anything that an export holds")
        return None
    with archive.open(name) as member:
        # The size in the directory may lie.
        content = member.read(MEMBER_LIMIT + 1)
    if len(content) > MEMBER_LIMIT:
        verdict.problems.append(f"{name}: is larger than it says")
        return None
    return content
