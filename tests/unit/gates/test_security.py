"""`security`: poisoned, damaged and hidden pickles; pins; advisories; licence and card. Nothing is ever loaded."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.gate_specs import SecurityGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput
from pilotage.gates.security import Security, advisories
from pilotage.gates.security.advisories import base_score, is_affected
from tests.support.trial import FakeTrial

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"
REQUIREMENTS = b"scikit-learn==1.8.0\nnumpy==2.4.1\n"
ADVISORIES = "azureml:advisories@latest"


def named(value: Any) -> str:
    """Archives hold the time at which they were made: bytes are no name for a test."""
    return value if isinstance(value, str) else ""


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def evil(protocol: int = 4) -> bytes:
    import os

    return pickle.dumps({"model": Evil(os.system, "true")}, protocol=protocol)


def judged(files: dict[str, bytes], spec: SecurityGate | None = None, **about: Any) -> GateResult:
    trial = FakeTrial(artifact_files={"requirements.txt": REQUIREMENTS} | files, **about)
    return Security().begin(trial, spec or SecurityGate())


def npy(objects: bytes) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + objects


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


HARMLESS = pickle.dumps(OrderedDict(weights=[1.0, 2.0], name="ridge"))


@pytest.mark.parametrize(("name", "content"), [
    *[(f"protocol{n}.pkl", evil(n)) for n in range(6)], ("model.bin", evil()), ("renamed.dat", evil(0)),
    ("model.joblib", zlib.compress(evil())),
    ("model.gz", gzip.compress(evil())), ("model.bz2", bz2.compress(evil())), ("model.xz", lzma.compress(evil())),
    ("weights.npy", npy(evil())), ("weights.npz", zipped(arr=npy(evil()))), ("model.pt", zipped(**{"archive/data.pkl": evil()})),
    ("nested.zip", zipped(inner=zipped(deep=evil()))), ("two.pkl", HARMLESS + evil()),
    ("memo.pkl", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x04true\x85R."),
    ("builtin.pkl", b"c__builtin__\neval\n(S'1'\ntR."), ("attribute.pkl", pickle.dumps(Evil(getattr, "x", "y"))),
    ("loader.pkl", b"\x80\x04cimportlib\nimport_module\n\x8c\x02os\x85R."), ("socket.pkl", b"csocket\nsocket\n."),
    ("unfinished.dat", evil(0)[:-1] + b"\xff\xff"), ("cut.dat", evil(1)[:-1]), ("cut.bin", evil(4)[:-1]),
    ("subprocess.pkl", pickle.dumps(Evil(subprocess.check_output, ["true"]))),
], ids=named)
def test_a_poisoned_pickle_is_found_wherever_it_hides(name: str, content: bytes) -> None:
    found = judged({f"model/{name}": content})
    assert found.outcome is GateOutcome.FAILED, found.evidence
    assert name in found.message
    assert "imports" in found.message


@pytest.mark.parametrize("content", [
    HARMLESS, zlib.compress(HARMLESS), zipped(a=HARMLESS), npy(HARMLESS), b"just text", b"", b"\x00" * 100], ids=named)
def test_what_does_no_harm_passes(content: bytes) -> None:
    assert judged({"model/file.dat": content}).outcome is GateOutcome.PASSED


@pytest.mark.parametrize(("name", "content"), [
    ("model.pkl", evil()[:20]), ("model.pkl", HARMLESS[:-5]), ("model.joblib", zlib.compress(HARMLESS)[:20]), ("x.npy", npy(HARMLESS)[:60]),
    ("model.pt", zipped(a=HARMLESS)[:40]), ("model.pkl", b"not a pickle"),
], ids=named)
def test_a_truncated_file_is_damaged(name: str, content: bytes) -> None:
    found = judged({name: content})
    assert found.outcome is GateOutcome.FAILED
    assert name in found.message


def test_what_cannot_be_scanned_decides_nothing() -> None:
    bomb = zipped(**{f"f{n}": b"0" for n in range(6000)})
    assert judged({"model.zip": bomb}).outcome is GateOutcome.INCONCLUSIVE
    deep = evil()
    for _ in range(5):
        deep = zipped(inner=deep)
    assert judged({"deep.zip": deep}).outcome is GateOutcome.INCONCLUSIVE


SAVE = """
import sys, mlflow.sklearn, pandas as pd, joblib
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.linear_model import Ridge
frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "c": ["x", "y", "x"]})
model = make_pipeline(make_column_transformer((OneHotEncoder(), ["c"]), (StandardScaler(), ["a"])), Ridge()).fit(frame, [1, 2, 3])
mlflow.sklearn.save_model(model, sys.argv[1] + "/mlflow", serialization_format="cloudpickle", pip_requirements=["scikit-learn==1.8.0"])
joblib.dump(RandomForestRegressor(5).fit([[1], [2]], [1, 2]), sys.argv[1] + "/forest.joblib", compress=3)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("good")
    subprocess.run([PYTHON, "-c", SAVE, folder], check=True, capture_output=True)
    return {str(file.relative_to(folder / "mlflow")) if file.is_relative_to(folder / "mlflow") else file.name: file.read_bytes()
            for file in sorted(folder.rglob("*")) if file.is_file()}


def test_models_as_mlflow_and_joblib_write_them_pass(good: dict[str, bytes]) -> None:
    found = Security().begin(FakeTrial(artifact_files=good), SecurityGate())
    assert found.outcome is GateOutcome.PASSED, found.evidence
    assert found.evidence["pickles"] >= 2


def test_the_policy_may_allow_an_import_by_its_name() -> None:
    content = {"model.pkl": b"\x80\x04cxgboost.sklearn\nXGBRegressor\n)R."}
    assert "not one that models usually import" in judged(content).message
    assert judged(content, SecurityGate(allow_globals=["xgboost.*"])).outcome is GateOutcome.PASSED
    poisoned = {"model.pkl": evil()}
    assert judged(poisoned, SecurityGate(allow_globals=["*"])).outcome is GateOutcome.FAILED, "a wildcard lets nothing dangerous through"


@pytest.mark.parametrize(("name", "text", "says"), [
    ("requirements.txt", "numpy", "numpy is not pinned"), ("requirements.txt", "numpy>=2", "not pinned"),
    ("requirements.txt", "numpy==2.*", "not pinned"), ("requirements.txt", "git+https://example.com/x.git", "no requirement"),
    ("requirements.txt", "x @ https://example.com/x.whl", "without a hash"),
    ("requirements.txt", "-e ./mine", "lets something else be installed"),
    ("requirements.txt", "--index-url https://evil", "lets something else"),
    ("requirements.txt", "numpy==2.4.1\nNumPy==2.4.2", "is pinned to 2.4.1 and 2.4.2"),
    ("conda.yaml", "dependencies: [python=3.13, {pip: [scipy]}]", "scipy is not pinned"), ("conda.yaml", "a: [", "can't be read"),
    ("requirements.txt", "numpy ==", "no requirement"),
])
def test_a_requirement_that_is_not_pinned_fails(name: str, text: str, says: str) -> None:
    found = Security().begin(FakeTrial(artifact_files={name: text.encode()}), SecurityGate())
    assert found.outcome is GateOutcome.FAILED
    assert says in found.message
    relaxed = Security().begin(FakeTrial(artifact_files={name: text.encode()}), SecurityGate(require_pins=False))
    assert relaxed.outcome is GateOutcome.PASSED


def test_pins_in_every_form_pass() -> None:
    text = b"# comment\nnumpy==2.4.1  # why\nscikit_learn[x]==1.8.0 ; python_version > '3'\nx @ https://h/x.whl#sha256=ab\n-r other.txt\n"
    assert judged({"requirements.txt": text, "python_env.yaml": b"dependencies: [-r requirements.txt]"}).evidence["pinned"] == 2
    assert judged({"requirements.txt": b""} | {}).outcome is GateOutcome.PASSED
    assert Security().begin(FakeTrial(artifact_files={"model.bin": b"x"}), SecurityGate()).outcome is GateOutcome.INCONCLUSIVE


def advisory(introduced: str = "0", severity: str | None = "HIGH", **event: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": "PYSEC-1", "affected": [{
        "package": {"ecosystem": "PyPI", "name": "Scikit_Learn"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": introduced}, *[{kind: at} for kind, at in event.items()]]}]}]}
    return found | ({"database_specific": {"severity": severity}} if severity else {})


@pytest.mark.parametrize(("told", "worst", "outcome"), [
    (advisory(fixed="1.8.1"), "none", "failed"), (advisory(fixed="1.8.0"), "none", "passed"),
    (advisory(fixed="1.8.0.post1"), "none", "failed"), (advisory(last_affected="1.8.0"), "none", "failed"),
    (advisory(last_affected="1.7.9"), "none", "passed"), (advisory(), "none", "failed"),
    (advisory(introduced="1.8.0"), "none", "failed"), (advisory(introduced="1.8.1"), "none", "passed"),
    (advisory(severity="LOW"), "low", "passed"), (advisory(severity="MODERATE"), "low", "failed"),
    (advisory(severity="CRITICAL"), "high", "failed"),
    (advisory(severity=None), "high", "passed"), (advisory(severity=None), "medium", "failed"),
    (advisory() | {"withdrawn": "2026-01-01T00:00:00Z"}, "none", "passed"),
])
def test_known_vulnerabilities(told: dict[str, Any], worst: str, outcome: str) -> None:
    spec = SecurityGate(advisories=ADVISORIES, max_severity=worst)  # type: ignore[arg-type]
    found = judged({}, spec, assets={ADVISORIES: [("osv.json", json.dumps([told]).encode())]})
    assert found.outcome == outcome, found.message
    if outcome == "failed":
        assert "scikit-learn 1.8.0 has PYSEC-1" in found.message


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"id": 1}', b'{"id": "x", "affected": {}}'])
def test_advisories_that_cannot_be_read_are_told_with_their_place(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"osv\.json:1"):
        judged({}, SecurityGate(advisories=ADVISORIES), assets={ADVISORIES: [("osv.json", content)]})


VERSIONS = st.builds("{}.{}".format, st.integers(0, 4), st.integers(0, 4))


@given(VERSIONS, VERSIONS, VERSIONS)
def test_a_version_is_affected_from_introduced_until_fixed(version: str, introduced: str, fixed: str) -> None:
    def number(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")))

    scope = {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": introduced}, {"fixed": fixed}]}]}
    end = number(fixed) if number(introduced) <= number(fixed) else (9,)
    assert is_affected(version, scope) is (number(introduced) <= number(version) < end)


@pytest.mark.parametrize(("vector", "score"), [
    ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8), ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
    ("CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N", 2.2), ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0), ("CVSS:4.0/AV:N", None),
    ("CVSS:3.1/AV:N", None),
])
def test_cvss_base_scores(vector: str, score: float | None) -> None:
    assert base_score(vector) == score


@pytest.mark.parametrize(("tags", "outcome"), [
    ({"licence": "MIT"}, "passed"), ({"license": "apache-2.0"}, "passed"), ({"license": "MIT OR GPL-3.0-only"}, "passed"),
    ({"license": "MIT AND Apache-2.0"}, "passed"), ({"license": "GPL-3.0-only"}, "failed"), ({"license": "MIT AND GPL-3.0-only"}, "failed"),
    ({}, "failed"), ({"license": "whatever I like"}, "failed"),
])
def test_licences(tags: dict[str, str], outcome: str) -> None:
    assert judged({}, SecurityGate(licences=["MIT", "Apache-2.0"]), tags=tags).outcome == outcome


def test_the_card_carries_what_the_policy_asks_for() -> None:
    spec = SecurityGate(card=["intended_use", "owner"])
    assert "carries no owner" in judged({}, spec, tags={"Intended_Use": "routing"}).message
    assert judged({}, spec, tags={"intended_use": "routing"}, properties={"owner": "flights"}).outcome is GateOutcome.PASSED


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x78\x9c", b"\x1f\x8b", b"c"]))
def test_no_bytes_break_the_scanner(content: bytes, magic: bytes) -> None:
    for name in ("model.pkl", "model.dat"):
        assert judged({name: magic + content}).outcome in GateOutcome


@given(st.recursive(st.none() | st.text(max_size=4) | st.integers(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                        ["id", "affected", "package", "name", "ecosystem", "ranges", "events", "fixed", "severity"]), inner, max_size=4),
                    max_leaves=15))
def test_no_advisory_breaks_the_reader(value: Any) -> None:
    try:
        found = advisories.read([("a.json", json.dumps(value).encode())], "a")
        advisories.check([], found, "none")
    except InvalidInput:
        return
