"""Every pickle in a model's artifact, wherever it hides: plain, compressed, in archives, in numpy files. Nothing is loaded."""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, cast

from pilotage.errors import TooLarge
from pilotage.gates.interface import Trial
from pilotage.gates.security.allowed import judge
from pilotage.gates.security.findings import Finding
from pilotage.gates.security.opcodes import Bounded, Damaged, OverLimit, Reading, read_pickle

FILE_LIMIT = 256 * 1024 * 1024
"""Bytes of one file that are read into memory; larger ones are told, not scanned."""
INSIDE_LIMIT = 1024 * 1024 * 1024
"""Bytes of one compressed stream, read in pieces."""
MAX_MEMBERS = 5_000
MAX_DEPTH = 3
"""Archives in archives."""
_NAMED = (".pkl", ".pickle", ".joblib", ".sav", ".p", ".pt", ".pth", ".ckpt", ".dill", ".cloudpickle")
_TEXT = (".yaml", ".yml", ".txt", ".json", ".jsonl", ".md", ".csv", ".py", ".toml", ".cfg", ".ini", ".html", ".xml")
_SHOWN = {"dangerous": "is dangerous", "code": "rebuilds functions from code inside the file",
          "unusual": "is not one that models usually import"}


def scan(trial: Trial, allow: Sequence[str]) -> tuple[list[Finding], dict[str, Any]]:
    """Findings, and what was looked at: {"files", "pickles", "imports", "code_files"}."""
    findings: list[Finding] = []
    imports: dict[str, int] = {}
    pickles = 0
    files = trial.artifact()
    for file in files:
        try:
            content = trial.read_artifact(file.path, FILE_LIMIT)
        except TooLarge:
            findings.append(Finding(part="pickles", level="unknown",
                                    message=f"{file.path} holds {file.size} bytes, too many to be scanned"))
            continue
        for where, reading, problem in _pickles(file.path, content):
            pickles += reading.pickles
            for one, verdict in judge(reading.globals, allow).items():
                imports[str(one)] = imports.get(str(one), 0) + 1
                if verdict != "allowed":
                    findings.append(Finding(part="pickles", level="failed", message=f"{where} imports {one}, which {_SHOWN[verdict]}"))
            if problem is not None:
                findings.append(problem)
    code = [file.path for file in files if file.path.endswith(".py")]
    return findings, {"files": len(files), "pickles": pickles, "imports": sorted(imports)[:60], "code_files": code[:20]}


def _pickles(where: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, Reading, Finding | None]]:
    """(place, what it imports, what is wrong with it) of every pickle in a file's content."""
    if content[:4] == b"PK\x03\x04":
        yield from _in_archive(where, content, depth)
    elif content[:6] == b"\x93NUMPY":
        yield from _in_array(where, content)
    elif _decompressed(content) is not None:
        yield _read(where, lambda: cast(IO[bytes], _decompressed(content)), certain=where.endswith(_NAMED))
    elif content[:1] == b"\x80" and content[1:2] <= b"\x05":
        yield _read(where, lambda: io.BytesIO(content), certain=True)
    elif not where.endswith(_TEXT) and content:
        # Protocols 0 and 1 have no mark of their own: read on trial.
        yield _read(where, lambda: io.BytesIO(content), certain=where.endswith(_NAMED))


def _read(where: str, opened: Callable[[], IO[bytes]], *, certain: bool) -> tuple[str, Reading, Finding | None]:
    """One pickle after the other. What is no pickle at all (and not called one) has nothing to tell.

    A file with joblib's arrays is read a second time as `pickle.load` would: neither reader must hide imports from the other.
    """
    reading, problem = _follow(where, opened(), certain=certain, joblib=True)
    if reading.arrays:
        plain, _ = _follow(where, opened(), certain=False, joblib=False)
        reading.globals |= plain.globals
    return where, reading, problem


def _follow(where: str, stream: IO[bytes], *, certain: bool, joblib: bool) -> tuple[Reading, Finding | None]:
    reading, problem = Reading(), None
    bounded = Bounded(stream, INSIDE_LIMIT)
    try:
        while True:
            begun = bounded.tell()
            try:
                read_pickle(bounded, reading, joblib=joblib)
            except Damaged:
                # After the last pickle there may be raw data (torch); before the first there is no pickle.
                if reading.pickles and bounded.tell() > begun and not reading.called:
                    break
                raise
            if bounded.tell() == begun:
                break
    except Damaged as error:
        if certain and not reading.pickles:
            problem = Finding(part="pickles", level="failed", message=f"{where} is damaged: {error}")
        elif not reading.pickles and not reading.called:
            reading = Reading()  # bytes that look like opcodes; what was called was called before the damage was met
    except OverLimit as error:
        problem = Finding(part="pickles", level="unknown", message=f"{where} could not be scanned to its end: {error}")
    except (EOFError, OSError, zlib.error, lzma.LZMAError, UnicodeDecodeError, ValueError) as error:
        if certain and not reading.pickles:
            problem = Finding(part="pickles", level="failed", message=f"{where} is damaged: {error}")
    return reading, problem


def _decompressed(content: bytes) -> IO[bytes] | None:
    """A stream of what is compressed, as joblib writes it; None when it is not."""
    if content[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=io.BytesIO(content)))
    if content[:3] == b"BZh":
        return bz2.BZ2File(io.BytesIO(content))
    if content[:6] == b"\xfd7zXZ\x00" or content[:3] == b"\x5d\x00\x00":
        return lzma.LZMAFile(io.BytesIO(content))
    if content[:1] == b"\x78" and content[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
        return cast(IO[bytes], _Inflating(content))
    return None


class _Inflating(io.RawIOBase):
    """zlib in pieces: `zlib.decompress` would make all of it at once."""

    def __init__(self, content: bytes) -> None:
        self._rest, self._ready = memoryview(content), b""
        self._engine = zlib.decompressobj()

    def read(self, size: int = -1) -> bytes:
        size = INSIDE_LIMIT if size < 0 else size
        while len(self._ready) < size and (self._rest or self._engine.unconsumed_tail):
            piece = self._engine.unconsumed_tail or bytes(self._rest[:65536])
            if not self._engine.unconsumed_tail:
                self._rest = self._rest[65536:]
            self._ready += self._engine.decompress(piece, 1 << 20)
            if self._engine.eof:
                break
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def readline(self, size: int | None = -1) -> bytes:
        limit = INSIDE_LIMIT if size is None or size < 0 else size
        line = b""
        while len(line) < limit and not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return line


def _in_archive(where: str, content: bytes, depth: int) -> Iterator[tuple[str, Reading, Finding | None]]:
    def problem(message: str, level: Any = "unknown") -> tuple[str, Reading, Finding]:
        return where, Reading(), Finding(part="pickles", level=level, message=f"{where} {message}")

    if depth >= MAX_DEPTH:
        yield problem(f"holds archives in archives, more than {MAX_DEPTH} deep")
        return
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        yield problem(f"is damaged: {error}", "failed")
        return
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > INSIDE_LIMIT:
        yield problem(f"unpacks to {len(members)} files of {sum(member.file_size for member in members)} bytes, too many to be scanned")
        return
    for member in members:
        if member.is_dir():
            continue
        try:
            with archive.open(member) as opened:
                inside = opened.read(min(member.file_size, FILE_LIMIT) + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            yield problem(f"can't be unpacked at {member.filename}: {error}")
            continue
        if len(inside) > FILE_LIMIT:
            yield problem(f"holds {member.filename}, which is too large to be scanned")
            continue
        yield from _pickles(f"{where}!{member.filename}", inside, depth + 1)


def _in_array(where: str, content: bytes) -> Iterator[tuple[str, Reading, Finding | None]]:
    """A .npy file: an array of objects is a pickle behind a header."""
    try:
        major = content[6]
        size = struct.unpack("<H", content[8:10])[0] if major == 1 else struct.unpack("<I", content[8:12])[0]
        begin = (10 if major == 1 else 12) + size
        header = ast.literal_eval(content[begin - size:begin].decode("utf-8" if major >= 3 else "latin1"))
        objects = "O" in str(header["descr"])
    except (ValueError, SyntaxError, struct.error, IndexError, KeyError, TypeError, MemoryError, RecursionError) as error:
        yield where, Reading(), Finding(part="pickles", level="failed", message=f"{where} is damaged: {error}")
        return
    if objects:
        yield _read(where, lambda: io.BytesIO(content[begin:]), certain=True)
