"""How two signatures differ: what is added, removed, of another type, or in another order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.model_signatures import Column, ModelSignature, Tensor, listed, signature_differences

FLIGHT = [Column(name="carrier", type="string"), Column(name="hour", type="long"), Column(name="distance", type="double")]
NOW = ModelSignature(columns=FLIGHT, output_columns=[Column(name="0", type="double")])


def changed(*columns: Column) -> ModelSignature:
    return NOW.model_copy(update={"columns": list(columns)})


@pytest.mark.parametrize(("new", "says"), [
    (NOW, []),
    (changed(*FLIGHT, Column(name="tail", type="string", required=False)), ["input tail added (string, optional)"]),
    (changed(FLIGHT[0], FLIGHT[2]), ["input hour removed (long)"]),
    (changed(FLIGHT[0], Column(name="hour", type="double"), FLIGHT[2]), ["input hour retyped (long -> double)"]),
    (changed(FLIGHT[0], FLIGHT[1], Column(name="distance", type="double", required=False)),
     ["input distance now optional (double -> double, optional)"]),
    (changed(FLIGHT[2], *FLIGHT[:2]), ["order of inputs reordered (carrier, hour, distance -> distance, carrier, hour)"]),
    (changed(Column(name="first", type="long"), *FLIGHT), ["input first added (long)"]),
    (changed(FLIGHT[1], Column(name="carrier", type="integer")),
     ["input carrier retyped (string -> integer)", "input distance removed (double)",
      "order of inputs reordered (carrier, hour -> hour, carrier)"]),
    (NOW.model_copy(update={"output_columns": [Column(name="0", type="long")]}), ["output 0 retyped (double -> long)"]),
    (NOW.model_copy(update={"output_columns": [], "output_tensors": [Tensor(dtype="float64", shape=[-1, 8])]}),
     ["output added (tensor of float64, any x 8)", "output 0 removed (double)"]),
], ids=["same", "added", "removed", "retyped", "optional", "reordered", "added in front", "several", "output", "columns to tensor"])
def test_every_way_to_differ_is_told_once(new: ModelSignature, says: list[str]) -> None:
    assert [str(item) for item in signature_differences(NOW, new)] == says


@pytest.mark.parametrize(("now", "new", "says"), [
    (Tensor(dtype="float32", shape=[-1, 8, 8]), Tensor(dtype="float32", shape=[-1, 64]), "tensor of float32, any x 8 x 8"),
    (Column(name="a", type="array", items=Column(name="", type="long")),
     Column(name="a", type="array", items=Column(name="", type="double")), "array of long"),
], ids=["shape", "what is in an array"])
def test_what_is_inside_counts(now: Tensor | Column, new: Tensor | Column, says: str) -> None:
    def of(field: Tensor | Column) -> ModelSignature:
        return ModelSignature(tensors=[field]) if isinstance(field, Tensor) else ModelSignature(columns=[field])

    (found,) = signature_differences(of(now), of(new))
    assert (found.kind, found.now) == ("retyped", says)


def test_they_are_listed_in_their_order_and_one_without_a_name_by_its_type() -> None:
    assert listed(NOW.inputs) == "carrier: string; hour: long; distance: double"
    assert listed([Tensor(dtype="uint8", shape=[-1, 2]), Tensor(dtype="str", shape=[])]) == (
        "tensor of uint8, any x 2; (2): tensor of str, a single value")


COLUMNS = st.lists(st.builds(Column, name=st.sampled_from("abcd"), type=st.sampled_from(["long", "double"]), required=st.booleans()),
                   max_size=5)


@given(COLUMNS, COLUMNS)
def test_nothing_is_told_exactly_where_nothing_differs_and_both_ways_tell_as_much(one: list[Column], other: list[Column]) -> None:
    there = signature_differences(ModelSignature(columns=one), ModelSignature(columns=other))
    back = signature_differences(ModelSignature(columns=other), ModelSignature(columns=one))
    assert (there == []) is (one == other)
    assert len(there) == len(back)
    assert sorted(item.now for item in there) == sorted(item.new for item in back)
