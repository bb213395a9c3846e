"""Azure ML's expressions: `${{inputs.x}}` in commands, `${{parent.jobs.a.outputs.b}}` between a pipeline's steps.

Grammar as the SDK writes it: a command refers to its own `inputs` and `outputs`, and may put text that
needs an optional input in `$[[...]]`; a step's input is bound to `parent.inputs.<name>` or
`parent.jobs.<step>.outputs.<name>`, a step's output to `parent.outputs.<name>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from emulator.azure_ml.errors import BadRequest

_NAME = r"[A-Za-z_][\w.\-]*"
_REFERENCE = re.compile(rf"\$\{{\{{\s*(inputs|outputs)\.({_NAME})\s*\}}\}}")
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_ANY = re.compile(r"\$\{\{\s*([^}]*?)\s*\}\}")
_BINDING = re.compile(
    rf"^\$\{{\{{\s*(?:parent\.)?(?:(?P<side>inputs|outputs)\.(?P<name>{_NAME})"
    rf"|jobs\.(?P<step>[A-Za-z_][\w\-]*)\.outputs\.(?P<output>{_NAME}))\s*\}}\}}$"
)


class ExpressionError(BadRequest):
    """An expression that can't be resolved: unknown name, unknown form, or a missing required input."""

    code = "InvalidExpression"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a step's input or output is bound to. Exactly one of `parent_input`, `parent_output`, `step` is set."""

    parent_input: str | None = None
    parent_output: str | None = None
    step: str | None = None
    output: str | None = None
    """The output's name, with `step`."""


def binding(value: object) -> Binding | None:
    """The binding that a value is, or None for a literal.

    >>> binding("${{parent.jobs.train.outputs.model}}").step
    'train'
    """
    if not isinstance(value, str) or "${{" not in value:
        return None
    found = _BINDING.match(value.strip())
    if found is None:
        if value.strip().startswith("${{") and value.strip().endswith("}}") and value.count("${{") == 1:
            raise ExpressionError(f"{value} is not an expression that a step can be bound to.")
        return None
    if found["step"]:
        return Binding(step=found["step"], output=found["output"])
    if found["side"] == "inputs":
        return Binding(parent_input=found["name"])
    return Binding(parent_output=found["name"])


def render(command: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """A command with its expressions replaced; optional parts whose inputs are missing are left out.

    >>> render("run ${{inputs.n}} $[[--case ${{inputs.case}}]]", {"n": "3"}, {})
    'run 3 '
    """
    sides = {"inputs": inputs, "outputs": outputs}

    def optional(found: re.Match[str]) -> str:
        names = _REFERENCE.findall(found[1])
        return found[1] if all(name in sides[side] for side, name in names) else ""

    def value(found: re.Match[str]) -> str:
        side, name = found[1], found[2]
        if name not in sides[side]:
            raise ExpressionError(f"The command refers to {side}.{name}, which has no value.")
        return sides[side][name]

    rendered = _REFERENCE.sub(value, _OPTIONAL.sub(optional, command))
    if unknown := _ANY.search(rendered):
        raise ExpressionError(f"The command has an expression that can't be resolved: {unknown[0]}")
    return rendered


def references(command: str) -> tuple[set[str], set[str]]:
    """The names of the inputs and outputs that a command refers to."""
    found = _REFERENCE.findall(command)
    return {name for side, name in found if side == "inputs"}, {name for side, name in found if side == "outputs"}


def interpolate(text: str, inputs: Mapping[str, str]) -> str:
    """Literal text with `${{parent.inputs.x}}` inside it replaced."""

    def value(found: re.Match[str]) -> str:
        bound = binding(found[0])
        if bound is None or bound.parent_input is None or bound.parent_input not in inputs:
            raise ExpressionError(f"{found[0]} in {text!r} has no literal value.")
        return inputs[bound.parent_input]

    return _ANY.sub(value, text)
