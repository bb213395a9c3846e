"""The code of a gate's own job: those modules of this package that gates are made of, in a folder of their own.

The folder's content depends on the modules alone, so that every upload of it is the same code asset: the SDK names one by its hash.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PARTS = ("__init__.py", "document.py", "errors.py", "ports", "domain", "gates")
"""What `in_job` imports, and what that imports."""
LEFT_OUT = ("gates/programs", "gates/security", "gates/performance", "gates/measuring.py", "gates/moving.py", "gates/trial.py")
"""Of these, what needs Azure or a deployment."""


def modules() -> dict[str, bytes]:
    """Path below the code folder -> content of every module of the job, sorted."""
    found = {}
    for part in PARTS:
        at = PACKAGE / part
        for file in [at] if at.is_file() else sorted(at.rglob("*.py")):
            path = file.relative_to(PACKAGE).as_posix()
            if not any(path == left or path.startswith(f"{left}/") for left in LEFT_OUT):
                found[f"{PACKAGE.name}/{path}"] = file.read_bytes()
    return dict(sorted(found.items()))


def pack(folder: Path) -> None:
    """Write the modules below a folder."""
    for path, content in modules().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
