"""A passport from a promotion's first step to its closing entry, as people and verifiers get it."""

from __future__ import annotations

import json

from pilotage.domain.signatures import thumbprint
from pilotage.errors import PermissionDenied, Unavailable
from pilotage.passports.explaining import explain_endpoint, explain_version
from pilotage.passports.file import passport_file
from pilotage.passports.verifying import verify
from tests.support.memory import SIGNER
from tests.support.scene import ENDPOINT, PROD, Scene, live

TRUSTED = {thumbprint(SIGNER.public_key()): SIGNER.public_key()}


def test_it_is_whole_closed_and_anchored_on_the_registrys_model(scene: Scene) -> None:
    promotion = scene.promote("1")
    file = passport_file(scene.ledger, promotion, scene.clock.now())
    stamps = scene.azure.stamps["registries/shared-registry/air-time:1"]
    verdict = verify(json.dumps(file), TRUSTED, anchor=stamps[f"pilotage.passport.{promotion}"])
    assert verdict.problems == []
    assert (verdict.closed, verdict.trusted) == (True, True)
    last = file["entries"][-1]
    assert (last["kind"], last["phase"], last["data"]["count"]) == ("closing", "succeeded", len(file["entries"]) - 1)


def test_a_registry_that_is_down_changes_no_phase_and_is_anchored_later(scene: Scene) -> None:
    scene.azure.fail("stamp", Unavailable("503"), times=3)
    promotion = scene.promote("1")
    assert scene.phase(promotion) == "succeeded"
    scene.hub.run()
    assert f"pilotage.passport.{promotion}" in scene.azure.stamps["registries/shared-registry/air-time:1"]


def test_a_digest_that_the_promotion_could_not_put_there_is_put_there_by_a_sweep(scene: Scene) -> None:
    scene.azure.fail("stamp", PermissionDenied("grant AzureML Registry User"), times=2)
    promotion = scene.promote("1")
    name = f"pilotage.passport.{promotion}"
    assert scene.phase(promotion) == "succeeded"
    assert scene.azure.stamps.get("registries/shared-registry/air-time:1", {}) == {}
    assert scene.sweep()["failed"] == [f"{promotion}: PermissionDenied: grant AzureML Registry User"], "until somebody grants it"
    assert scene.sweep()["failed"] == []
    closing = scene.ledger.passports.entries(promotion)[-1]
    assert scene.azure.stamps["registries/shared-registry/air-time:1"][name] == closing.digest
    assert scene.ledger.anchors.owed() == []


def test_a_rollback_has_a_passport_that_the_promotions_file_names(scene: Scene) -> None:
    promotion = scene.promote("1")
    rollback = scene.roll_back(promotion)
    scene.hub.run()
    file = passport_file(scene.ledger, promotion, scene.clock.now())
    (link,) = file["rollbacks"]
    its = passport_file(scene.ledger, link["passport"], scene.clock.now())
    assert (link["passport"], link["count"], link["digest"]) == (rollback, its["head"]["count"], its["head"]["digest"])
    assert its["entries"][0]["data"]["promotion"] == promotion
    for each in (file, its):
        assert verify(json.dumps(each), TRUSTED).problems == []
    assert f"(its passport: {rollback})" in explain_version(scene.ledger, [scene.row(promotion)])


def test_why_is_this_live() -> None:
    scene, (first, second) = live("1", "2")
    text = explain_version(scene.ledger, [scene.row(second)])
    for said in ("air-time:2 serves mlw-prod/air-time since", f"  {second}, attempt 1", "policy air-time, sha256:",
                 "submitted by registrant oid-ada", "smoke passed: ", "approve by oid-grace",
                 f"traffic {scene.green(second)} 100 %", f"served before: {scene.green(first)} 100 %",
                 "the chain is whole"):
        assert said in text, text
    endpoint = scene.ledger.endpoints.get(PROD, ENDPOINT)
    assert endpoint is not None
    about = explain_endpoint(scene.ledger, endpoint, scene.row(second))
    assert f"air-time:2 serves as {scene.green(second)}, brought by {second}." in about
    assert f"Kept without traffic: {scene.green(first)} until" in about
    assert text in about


def test_why_is_nothing_live(scene: Scene) -> None:
    promotion = scene.promote("1")
    scene.roll_back(promotion)
    scene.hub.run()
    endpoint = scene.ledger.endpoints.get(PROD, ENDPOINT)
    assert endpoint is not None
    assert "Nothing that a promotion brought serves here; the last rollback was" in explain_endpoint(scene.ledger, endpoint, None)
    assert "air-time:1 is rolled back since" in explain_version(scene.ledger, [scene.row(promotion)])
