"""Contracts of data: what may be written, and errors that name the line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.gate_specs import DataQualityGate, ResponsibleAiGate
from pilotage.errors import InvalidInput
from pilotage.gates.data_contract import DataContract, check_pattern, parse, read

GOOD = """\
version: 1
rows: {min: 100, max: 5000}
unique: [[flight, day]]
columns:
  flight: {type: text, pattern: "[A-Z]{2}[0-9]{1,4}"}
  day: {type: date}
  distance:
    type: number
    min: 0
    max: 10000.5
    max_null_share: 0.01
  origin: {type: text, categories: [EWR, JFK, NO, 12:30]}
  gate: {required: false}
"""


def test_a_contract_says_what_it_shows() -> None:
    contract = parse(GOOD.encode(), "contract.yaml")
    assert contract.columns["origin"].categories == ["EWR", "JFK", "NO", "12:30"]
    assert (contract.columns["distance"].min, contract.columns["distance"].max) == (0, 10000.5)
    assert contract.columns["gate"].required is False
    assert contract.unknown_columns == "refuse"


@pytest.mark.parametrize(("text", "words"), [
    ("columns: [", r"c.yaml:1: this is not valid YAML"),
    ("version: 1\ncolumns:\n  a: {type: number\n  b: {}", r"c.yaml:\d: this is not valid YAML"),
    ("", "is empty: start with version: 1"),
    ("- version: 1", "must be a mapping that starts with version: 1"),
    ("version: 1", "line 1: columns: this key is missing: add it"),
    ("version: 2\ncolumns: {a: {}}", "line 1: version: input should be 1"),
    ("version: 1\ncolumns:\n  a:\n    typ: number", "line 4: columns.a.typ: unknown key typ: remove it or correct its name"),
    ("version: 1\ncolumns: {a: {}}\nstrict: true", "line 3: strict: unknown key strict"),
    ("version: 1\ncolumns:\n  a: {type: float64}", "line 3: columns.a.type: input should be 'number', 'integer'"),
    ("version: 1\ncolumns:\n  a:\n    type: number\n    min: '0'", "line 5: columns.a.min: input should be a valid number"),
    ("version: 1\ncolumns:\n  a:\n    required: 'false'", "line 4: columns.a.required: input should be a valid boolean"),
    ("version: 1\ncolumns:\n  a: {type: number, min: 2, max: 1}", "line 3: columns.a: min 2 is over max 1"),
    ("version: 1\ncolumns:\n  a: {type: text, min: 2}", "min and max are for numbers: set type"),
    ("version: 1\ncolumns:\n  a: {pattern: '['}", "line 3: columns.a.pattern: '.' is not a regular expression"),
    ("version: 1\ncolumns: {a: {}}\nunique: [[b]]", "unique names b, which columns does not describe"),
    ("version: 1\ncolumns: {a: {}}\nrows: {min: 9, max: 3}", "line 3: rows: min 9 is over max 3"),
    ("version: 1\ncolumns:\n  a: {}\n  a: {}", "c.yaml:4: a is given twice, first on line 3: keep one"),
    ("version: 1\ncolumns: {1: {}}", "the key 1 is not text: put it in quotes"),
    ("version: 1\ncolumns: {a: &x {}, b: *x}", "c.yaml:2: anchors and aliases are not supported"),
    ("version: 1\ncolumns: " + "{a: " * 2000 + "}" * 2000, "nested"),
    ("version: 1\ncolumns: {a: {}}\n---\nversion: 1", "c.yaml:3: this is not valid YAML"),
    ("version: 1\ncolumns: {a: {max_null_share: .nan}}", "max_null_share: input should be a valid number"),
    ("#" * 300_000, "holds 300000 bytes; the limit is"),
])
def test_errors_name_the_line(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse(text.encode(), "c.yaml")


@pytest.mark.parametrize("value", [
    "!!python/object/apply:os.system ['touch x']", "!!python/name:os.system ''", "{pattern: !!python/object/new:str ['a']}", "!x {}"])
def test_a_contract_can_run_nothing(value: str) -> None:
    with pytest.raises(InvalidInput, match=r"the tag .* is not supported: write a plain value"):
        parse(f"version: 1\ncolumns: {{a: {value}}}".encode(), "c.yaml")


@pytest.mark.parametrize("key", ["checks", "check", "parsers", "dtype", "coerce", "options"])
def test_pandera_reaches_nothing_by_name(key: str) -> None:
    with pytest.raises(InvalidInput, match=f"unknown key {key}"):
        parse(f"version: 1\ncolumns: {{a: {{{key}: [os.system]}}}}".encode(), "c.yaml")


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|aa)+", "(a*)*b", "(?:a?){30}", r"(.)\1", "(?=a)b", "((ab)+c){2,}", "(a{1,9})*"])
def test_patterns_that_may_never_end_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="write"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["[A-Z]{3}", "(AA|UA)[0-9]{1,4}", r"\d{4}-\d{2}-\d{2}", "([A-Z]{2}-){3}x?", "a.*b", "(EWR)?",
                                     "(?i)jfk"])
def test_common_patterns_are_taken(pattern: str) -> None:
    check_pattern(pattern)


def test_the_asset_has_one_contract() -> None:
    assert isinstance(read([("README.md", b"x"), ("c.yml", GOOD.encode())], "azureml:c:1"), DataContract)
    for files in ([], [("a.yaml", b""), ("b.yaml", b"")]):
        with pytest.raises(InvalidInput, match=r"the contract azureml:c:1 has \d .yaml files: it needs exactly one"):
            read(files, "azureml:c:1")
    with pytest.raises(InvalidInput, match="is not UTF-8"):
        read([("c.yaml", b"\xff\xfe\xfa")], "azureml:c:1")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8))
def test_whatever_is_written_is_a_contract_or_a_clear_error(value: object) -> None:
    text = yaml.safe_dump({"version": 1, "columns": {"a": {}}, "rows": value}, allow_unicode=True)
    try:
        contract = parse(text.encode("utf-8", "surrogatepass"), "c.yaml")
    except InvalidInput as error:
        told = str(error)
    else:
        told = f"c.yaml has {len(contract.columns)} column"
    assert told.startswith("c.yaml")


def test_the_documented_contract_and_policies_are_valid() -> None:
    docs = Path(__file__).parents[3] / "docs" / "gates"
    policy, contract = re.findall(r"```yaml\n(.*?)```", (docs / "data-quality.md").read_text(), re.DOTALL)
    assert parse(contract.encode(), "data-quality.md").unique == [["flight", "day"]]
    DataQualityGate.model_validate(yaml.safe_load(policy)[0]["data_quality"])
    (policy,) = re.findall(r"```yaml\n(.*?)```", (docs / "responsible-ai.md").read_text(), re.DOTALL)
    ResponsibleAiGate.model_validate(yaml.safe_load(policy)[0]["responsible_ai"])
