from __future__ import annotations

import pytest

from emulator.azure_ml.jobs.expressions import Binding, ExpressionError, binding, interpolate, references, render


def test_a_command_gets_its_inputs_and_outputs() -> None:
    command = "python a.py --n ${{inputs.n}} --out ${{ outputs.model }}"
    assert render(command, {"n": "3"}, {"model": "/tmp/m"}) == "python a.py --n 3 --out /tmp/m"


@pytest.mark.parametrize(("inputs", "rendered"), [({"case": "c1"}, "run --case c1 end"), ({}, "run  end")])
def test_an_optional_part_is_there_only_with_its_input(inputs: dict[str, str], rendered: str) -> None:
    assert render("run $[[--case ${{inputs.case}}]] end", inputs, {}) == rendered


def test_an_optional_part_needs_all_of_its_inputs() -> None:
    assert render("run $[[--a ${{inputs.a}} --b ${{inputs.b}}]]", {"a": "1"}, {}) == "run "


@pytest.mark.parametrize("command", ["run ${{inputs.x}}", "run ${{outputs.x}}", "run ${{search_space.x}}", "run ${{parent.inputs.x}}"])
def test_what_cannot_be_resolved_is_refused(command: str) -> None:
    with pytest.raises(ExpressionError):
        render(command, {}, {})


def test_a_value_is_not_searched_for_expressions_of_its_own() -> None:
    assert render("echo ${{inputs.a}}", {"a": "b"}, {}) == "echo b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{parent.inputs.flights}}", Binding(parent_input="flights")),
        ("${{ parent.jobs.train.outputs.model }}", Binding(step="train", output="model")),
        ("${{parent.outputs.model}}", Binding(parent_output="model")),
        ("${{inputs.n}}", Binding(parent_input="n")),
        ("plain", None),
        (3, None),
        ("prefix-${{parent.inputs.a}}", None),
    ],
)
def test_bindings(text: object, expected: Binding | None) -> None:
    assert binding(text) == expected


def test_a_binding_of_unknown_form_is_refused() -> None:
    with pytest.raises(ExpressionError):
        binding("${{parent.jobs.train.inputs.model}}")


def test_text_around_a_binding_is_kept() -> None:
    assert interpolate("runs/${{parent.inputs.season}}/v1", {"season": "summer"}) == "runs/summer/v1"
    with pytest.raises(ExpressionError):
        interpolate("${{parent.inputs.missing}}", {})


def test_the_names_a_command_refers_to() -> None:
    assert references("a ${{inputs.x}} $[[${{inputs.y}}]] ${{outputs.z}}") == ({"x", "y"}, {"z"})
