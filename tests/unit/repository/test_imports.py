"""Import arrows go one way. Read from the source, so that a lazy import inside a function counts too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FIRST_PARTY = ("function_app", "functions", "orchestrations", "activities", "pilotage", "emulator", "demo", "samples", "bench", "tests")

# Where a module may import from, by the longest prefix that matches it. First-party only.
ALLOWED = {
    "function_app": {"functions", "orchestrations", "activities"},
    "functions": {"functions", "pilotage.bootstrap", "pilotage.deciding", "pilotage.passports", "pilotage.planning", "pilotage.intake",
                  "pilotage.domain", "pilotage.ports", "pilotage.events", "pilotage.messages", "pilotage.errors", "pilotage.web"},
    "orchestrations": {"orchestrations", "activities.names", "pilotage.domain", "pilotage.messages", "pilotage.errors"},
    "activities": {"activities", "pilotage.bootstrap", "pilotage.ports", "pilotage.domain", "pilotage.messages", "pilotage.errors",
                   "pilotage.gates", "pilotage.planning"},
    "pilotage.domain": {"pilotage.domain"},
    "pilotage.errors": set(),
    "pilotage.messages": {"pilotage.domain"},
    "pilotage.ports": {"pilotage.ports", "pilotage.domain"},
    "pilotage.events": {"pilotage.events", "pilotage.domain", "pilotage.errors"},
    "pilotage.gates": {"pilotage.gates", "pilotage.document", "pilotage.domain", "pilotage.errors", "pilotage.messages", "pilotage.ports"},
    "pilotage.web": {"pilotage.web", "pilotage.domain"},
    "pilotage.intake": {"pilotage.domain", "pilotage.errors", "pilotage.events", "pilotage.ledger", "pilotage.messages", "pilotage.ports"},
    "pilotage.deciding": {"pilotage.bootstrap", "pilotage.domain", "pilotage.errors", "pilotage.messages", "pilotage.ports"},
    "pilotage.passports": {"pilotage.passports", "pilotage.domain", "pilotage.errors", "pilotage.ledger", "pilotage.messages"},
    "pilotage.signing": {"pilotage.azure_errors", "pilotage.credentials", "pilotage.domain", "pilotage.errors"},
    "pilotage.planning": {"pilotage.bootstrap", "pilotage.domain", "pilotage.errors", "pilotage.messages"},
    "pilotage": {"pilotage"},
    "emulator": {"emulator"},
    "demo": {"demo", "samples"},
    "bench": {"bench", "emulator", "pilotage"},
    "docs": set(),
}
DOMAIN_LIBRARIES = {"pydantic", "dateutil"} | sys.stdlib_module_names


def _modules() -> Iterator[tuple[str, Path]]:
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split()
    for name in names:
        path = ROOT / name
        if path.exists() and not name.startswith(("tests/", "samples/", "emulator/images/", "pilotage/gates/programs/")):
            yield name.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."), path


def _imports(module: str, path: Path, *, for_types: bool = True) -> Iterator[str]:
    """Full names of what a module imports; without `for_types`, only what is imported when it runs."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    typing_only = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                   for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if id(node) in typing_only and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            origin = (base + (node.module or "")).strip(".")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _within(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _rule(module: str) -> set[str]:
    return ALLOWED[max((prefix for prefix in ALLOWED if _within(module, {prefix})), key=len)]


MODULES = dict(_modules())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    allowed = _rule(module)
    wrong = [name for name in _imports(module, MODULES[module]) if name.split(".")[0] in FIRST_PARTY and not _within(name, allowed)]
    assert not wrong, f"{module} may import from {sorted(allowed)}, not {wrong}"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if _within(m, {"pilotage.domain"})))
def test_the_domain_needs_the_standard_library_and_pydantic_only(module: str) -> None:
    wrong = [name for name in _imports(module, MODULES[module])
             if name.split(".")[0] not in DOMAIN_LIBRARIES | {"pilotage"}]
    assert not wrong


# The demo, the seeding and a benchmark play the data scientist, who registers models with the SDK.
WITH_AZURE_ML = {"pilotage.azureml", "demo", "emulator.seeding", "bench.pending"}


@pytest.mark.parametrize("module", sorted(m for m in MODULES if not _within(m, WITH_AZURE_ML)))
def test_only_its_adapter_imports_azure_ml(module: str) -> None:
    assert not [name for name in _imports(module, MODULES[module]) if _within(name, {"azure.ai.ml"})]


def test_there_are_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        # `from package import module` needs the module; `from module import name` needs the module it names.
        targets = (name if name in MODULES else name.rpartition(".")[0] for name in _imports(module, path, for_types=False))
        graph[module] = {target for target in targets if target in MODULES and target != module}
    # A package's __init__ that gathers its modules is not a cycle by itself: modules never import it back.
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module):], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_starting_the_app_does_not_load_azure_ml() -> None:
    """The cold start is a feature: 2.7 s of it would be azure.ai.ml."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import function_app, sys; print([m for m in sys.modules if m.startswith('azure.ai.ml')][:3])"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    assert loaded == "[]"
