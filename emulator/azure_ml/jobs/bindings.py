"""How a pipeline's steps hang together: their order, and what flows from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.azure_ml.jobs import expressions
from emulator.azure_ml.jobs.definitions import InvalidJob, check_literal

Json = dict[str, Any]


def order(steps: Mapping[str, Json]) -> list[str]:
    """Steps so that each comes after those it reads from; raises `InvalidJob` on a cycle."""
    needs = {name: {b["step"] for b in step["inputs"].values() if "step" in b} for name, step in steps.items()}
    ordered: list[str] = []
    while len(ordered) < len(steps):
        following = [name for name in steps if name not in ordered and needs[name] <= set(ordered)]
        if not following:
            raise InvalidJob(f"The steps {', '.join(sorted(set(steps) - set(ordered)))} wait for each other.")
        ordered.extend(following)
    return ordered


def ready(steps: Json, done: Json, failed: Json, running: set[str]) -> list[str]:
    """The steps that can start: all they read from is there."""
    taken = {*done, *failed, *running}
    return [
        name
        for name, step in steps.items()
        if name not in taken and all(bound["step"] in done for bound in step["inputs"].values() if "step" in bound)
    ]


def bound_inputs(name: str, step: Json, values: Json, done: dict[str, dict[str, Json]]) -> Json:
    """A step's inputs, with what they are bound to put in place."""
    literals = {key: value["literal"] for key, value in values.items() if "literal" in value}
    found: Json = {}
    for key, bound in step["inputs"].items():
        definition = step["spec"]["inputs"][key]
        mode = {"mode": bound["mode"]} if bound.get("mode") else {}
        if "parent" in bound:
            value = values.get(bound["parent"])
            if value is None:
                if definition.get("default") is not None:
                    found[key] = {"literal": str(definition["default"])}
                continue
            if "literal" in value:
                check_literal(f"{name}.{key}", value["literal"], definition)
            found[key] = {**value, **mode}
        elif "step" in bound:
            found[key] = {**done[bound["step"]][bound["output"]], **mode}
        elif "literal" in bound:
            found[key] = {"literal": expressions.interpolate(bound["literal"], literals)}
        else:
            found[key] = bound
    return found


def merged_outputs(pipeline: Json, step: Json) -> Json:
    """A step's outputs: what its component says, then the pipeline's about the output it becomes, then the step's own."""
    merged = {}
    for name, definition in step["spec"]["outputs"].items():
        options = step["outputs"].get(name, {})
        above = pipeline["outputs"].get(options.get("parent"), {})
        asked = {key: above[key] for key in ("uri", "asset") if key in above}
        merged[name] = {**definition, **asked, **{key: value for key, value in options.items() if key != "parent"}}
    return merged
