"""What the review page sets against what serves now: of the signature every input and output that is not as before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.viewing import CHANGES, card, differences
from pilotage.domain.model_signatures import Column, ModelSignature
from tests.support.fakes import Asset
from tests.support.scene import Scene, policy

NOW = [{"name": "carrier", "type": "string"}, {"name": "hour", "type": "long"}, {"name": "tail", "type": "string", "required": False}]
NEW = [{"name": "hour", "type": "double"}, {"name": "carrier", "type": "string"}, {"name": "origin", "type": "string"}]


def model(version: str, inputs: Any) -> Asset:
    told = f"flavors: {{}}\nsignature:\n  inputs: '{json.dumps(inputs)}'\n  outputs: '[{{\"type\": \"double\"}}]'\n"
    return Asset(files={"model.pkl": version.encode(), "MLmodel": told.encode()}, tags={"inputs": "nothing, says its tag"})


def asked(*models: Asset) -> tuple[Scene, str]:
    """The last model is put before its voters while the one before it serves. One gate, that asks for no column."""
    scene = Scene(policy(**{"stages.0.gates": [{"smoke": {"samples": "azureml:requests@latest"}}]}))
    for number, asset in enumerate(models[:-1], start=1):
        scene.promote(str(number), asset)
    scene.register("9", models[-1])
    promotion = scene.start("9")
    scene.hub.run(lambda: "fact approval.announced" in scene.steps(promotion))
    return scene, promotion


def rows(scene: Scene, promotion: str) -> dict[str, tuple[str, str, str]]:
    this, row, request = scene.app(), scene.ledger.promotions.get(promotion), scene.ledger.approvals.current(promotion)
    assert row is not None
    assert request is not None
    return {item["name"]: (item["now"], item["new"], item["how"]) for item in differences(this, row, request)}


def test_inputs_that_differ_from_what_serves_are_rows_of_their_own_after_the_signature() -> None:
    scene, promotion = asked(model("1", NOW), model("2", NEW))
    found = rows(scene, promotion)
    assert found["signature"] == ("3 inputs, 1 output", "3 inputs, 1 output", "")
    names = list(found)
    at = names.index("signature") + 1
    assert {name: found[name] for name in names[at:at + 4]} == {
        "input hour": ("long", "double", "retyped"), "input origin": ("not there", "string", "added"),
        "input tail": ("string, optional", "not there", "removed"), "order of inputs": ("carrier, hour", "hour, carrier", "reordered")}
    shown = card(scene.app(), promotion)
    assert shown is not None
    assert shown["facts"]["inputs"] == "hour: double; carrier: string; origin: string", "and no tag says otherwise"


@pytest.mark.parametrize(("asset", "says"), [
    (Asset(files={"model.pkl": b"2"}), ("3 inputs, 1 output", "none", "changed")),
    (Asset(files={"model.pkl": b"2", "MLmodel": b"a: ["}), "can't be read: MLmodel of the model can't be read"),
    (model("2", NOW), ("3 inputs, 1 output", "3 inputs, 1 output", "")),
], ids=["none", "unreadable", "the same"])
def test_a_signature_that_is_not_there_or_not_changed_is_one_row(asset: Asset, says: Any) -> None:
    found = rows(*asked(model("1", NOW), asset))
    assert found["signature"] == says if isinstance(says, tuple) else found["signature"][1].startswith(says)
    assert not [name for name in found if name.startswith(("input", "output", "order"))]


def test_a_model_with_hundreds_of_inputs_does_not_flood_the_page() -> None:
    wide = [{"name": f"pixel {number}", "type": "long"} for number in range(CHANGES + 3)]
    found = rows(*asked(model("1", []), model("2", wide)))
    assert found["signature, further"] == ("", "3 more differences", "changed")
    assert len([name for name in found if name.startswith("input")]) == CHANGES


def test_a_repeated_pin_keeps_the_first_card() -> None:
    scene, promotion = asked(model("1", NOW))
    before = scene.ledger.cards.signature(promotion)
    assert before is not None
    assert before.columns[1] == Column(name="hour", type="long")
    version = scene.azure.model(scene.register("10"))
    scene.ledger.cards.keep(promotion, version, ModelSignature())
    assert scene.ledger.cards.signature(promotion) == before
