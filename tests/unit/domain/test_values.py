"""Assets, canonical JSON, phases and roles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pilotage.domain.access import Actor, Role
from pilotage.domain.assets import ArtifactDigest, AssetRef, BlobDigest, parse_asset
from pilotage.domain.canonical import canonical_json, digest, short_hash
from pilotage.domain.phase import PromotionPhase

# --- canonical JSON -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(JSON)
def test_a_value_has_one_text_and_comes_back_from_it(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert json.loads(text) == value


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_hashed_parts_do_not_run_into_each_other(one: list[str], other: list[str]) -> None:
    assert (short_hash(*one, length=64) == short_hash(*other, length=64)) is (one == other)


# --- artifacts ------------------------------------------------------------------------------------

BLOBS = st.lists(st.builds(BlobDigest, path=st.text(max_size=4), size=st.integers(0, 9), sha256=st.sampled_from(["aa", "bb"])),
                 max_size=5, unique_by=lambda blob: blob.path)


@given(BLOBS, st.randoms(use_true_random=False))
def test_an_artifact_is_its_files_in_any_order(blobs: list[BlobDigest], random: Any) -> None:
    shuffled = list(blobs)
    random.shuffle(shuffled)
    assert ArtifactDigest.of(shuffled) == ArtifactDigest.of(blobs)


@given(BLOBS, BLOBS)
def test_different_files_are_different_artifacts(one: list[BlobDigest], other: list[BlobDigest]) -> None:
    same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (ArtifactDigest.of(one).value == ArtifactDigest.of(other).value) is same


@pytest.mark.parametrize(("text", "ref"), [
    ("azureml:m:1", AssetRef(name="m", version="1", workspace="w")),
    ("azureml:m@latest", AssetRef(name="m", version="@latest", workspace="w")),
    ("azureml://registries/r/models/m/versions/1", AssetRef(name="m", version="1", registry="r")),
    ("azureml://registries/r/environments/m/labels/latest", AssetRef(name="m", version="@latest", registry="r")),
])
def test_assets_are_read(text: str, ref: AssetRef) -> None:
    assert parse_asset(text, "w") == ref
    assert ref.pinned is not ref.version.startswith("@")


@pytest.mark.parametrize("text", [
    "", "m:1", "azureml:m", "azureml:m:", "azureml:m@", "azureml:a/b:1", "azureml:m:1@latest", "azureml://registries/r/models/m",
    "azureml://registries/r/models/m/versions/", "azureml://workspaces/w/models/m/versions/1",
])
def test_what_is_no_asset_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="azureml:name:version"):
        parse_asset(text, "w")


@pytest.mark.parametrize("home", [{}, {"workspace": "w", "registry": "r"}])
def test_an_asset_has_one_home(home: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        AssetRef(name="m", version="1", **home)


# --- phases ---------------------------------------------------------------------------------------

def test_phases_know_what_they_are() -> None:
    for phase in PromotionPhase:
        assert phase.terminal or not phase.retryable, "what goes on is not retried"
    assert not PromotionPhase.SUCCEEDED.retryable
    assert PromotionPhase.ROLLED_BACK.retryable
    assert not PromotionPhase.QUEUED.terminal
    assert not PromotionPhase.HELD.touches_production
    assert {phase for phase in PromotionPhase if not phase.terminal} == {
        PromotionPhase(name) for name in
        ("accepted", "resolving", "registering", "staging", "planning", "awaiting_approval", "waiting_window", "queued",
         "rolling_out")}


# --- roles ----------------------------------------------------------------------------------------

TEAMS = st.sampled_from([None, "forecasting", "Forecasting", "plants", "a.b"])
ROLES = st.sampled_from(list(Role))


@given(st.lists(st.tuples(ROLES, TEAMS, st.booleans()), max_size=4), ROLES, TEAMS)
def test_teams_are_exactly_those_for_which_the_role_is_held(
    held: list[tuple[Role, str | None, bool]], wanted: Role, team: str | None
) -> None:
    roles = [(role.value + (f".{name}" if name else "")) for role, name, _ in held]
    actor = Actor(object_id="o", roles=[text.upper() if upper else text for text, (_, _, upper) in zip(roles, held, strict=True)])
    teams = actor.teams(wanted)
    assert actor.has(wanted, team) is (teams is None or (team is not None and team.casefold() in teams))


@pytest.mark.parametrize(("role", "wanted", "granted"), [
    (Role.ADMIN, Role.OPERATOR, True), (Role.ADMIN, Role.APPROVER, False), (Role.OPERATOR, Role.ADMIN, False),
    (Role.OPERATOR, Role.READER, True), (Role.APPROVER, Role.OPERATOR, False), (Role.READER, Role.OPERATOR, False),
])
def test_an_admin_operates_but_only_an_approver_approves(role: Role, wanted: Role, granted: bool) -> None:
    assert Actor(object_id="o", roles=[role.value]).has(wanted) is granted
    assert Actor(object_id="o", roles=[f"{role.value}.plants"]).has(wanted, "plants") is granted
    assert not Actor(object_id="o", roles=[f"{role.value}.plants"]).has(wanted)
    assert not Actor(object_id="o", roles=[f"{role.value}.plants"]).has(wanted, "forecasting")


def test_digests_name_their_algorithm() -> None:
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
