"""Names: the same meaning always the same name, within Azure's limits, and different meanings apart."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.names import (
    INSTANCE_ID_LIMIT,
    child_id,
    endpoint_key,
    incident_id,
    production_deployment,
    promotion_id,
    retraining_job,
    rollback_id,
    slug,
    staging_deployment,
)

TEXTS = st.one_of(st.text(max_size=120), st.text(alphabet=string.ascii_letters + string.digits + "._-", min_size=1, max_size=120))
NUMBERS = st.integers(1, 10**6)
FORBIDDEN = set("/\\#?")
DEPLOYMENT = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
JOB = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}")


@given(TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS)
def test_instance_ids_fit_azure(home: str, model: str, version: str, policy: str, number: int) -> None:
    promotion = promotion_id(home, model, version, policy, number)
    incident = incident_id(policy, endpoint_key(home, model), number)
    rollout = child_id(promotion, "rollout")
    ids = [promotion, rollback_id(promotion, number), incident, child_id(incident, "retraining"), rollout, child_id(rollout, "rollback"),
           child_id(promotion, "sweep-20260105-0900"), child_id(promotion, "x" * 300)]
    for name in ids:
        assert 1 <= len(name) <= INSTANCE_ID_LIMIT, name
        assert not FORBIDDEN & set(name), name
        assert name.isascii()
        assert name.isprintable()
    assert len(set(ids)) == len(ids)


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_azure_compares_without_case_and_so_do_we(home: str, model: str, version: str, policy: str) -> None:
    plain = promotion_id(home, model, version, policy)
    folded = [text.casefold() for text in (home, model, version, policy)]
    assert promotion_id(*folded) == plain
    assert incident_id(policy, home, 1) == incident_id(policy.casefold(), home.casefold(), 1)
    assert endpoint_key(home, model) == endpoint_key(home.casefold(), model.casefold())


@given(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS), st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS))
def test_different_promotions_have_different_ids(one: tuple[str, str, str, str, int], other: tuple[str, str, str, str, int]) -> None:
    same = [str(part).casefold() for part in one] == [str(part).casefold() for part in other]
    assert (promotion_id(*one) == promotion_id(*other)) is same


def test_parts_do_not_run_into_each_other() -> None:
    assert promotion_id("w", "a-1", "2", "p") != promotion_id("w", "a", "1-2", "p")
    assert promotion_id("w", "m", "1", "p", 1) != promotion_id("w", "m", "1", "p", 11)
    assert promotion_id("/subscriptions/1/workspaces/dev", "m", "1", "p") != promotion_id("/subscriptions/2/workspaces/dev", "m", "1", "p")


@given(TEXTS, TEXTS)
def test_deployments_and_jobs_have_names_that_azure_ml_takes(version: str, text: str) -> None:
    promotion = promotion_id("home", text, version, "policy")
    assert DEPLOYMENT.fullmatch(staging_deployment(promotion))
    assert DEPLOYMENT.fullmatch(production_deployment(version, promotion))
    assert JOB.fullmatch(retraining_job(incident_id(text, version, 1), 1))


@given(TEXTS, TEXTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_each_incident_has_a_training_job_of_its_own(policy: str, endpoint: str, one: int, other: int, first: int, second: int) -> None:
    """However long the policy's name: a job that is found by its name must be this incident's."""
    jobs = {retraining_job(incident_id(policy, endpoint, n), attempt) for n, attempt in ((one, first), (other, second))}
    assert len(jobs) == (1 if (one, first) == (other, second) else 2)


def test_a_policy_name_of_full_length_keeps_its_incidents_apart() -> None:
    policy = "p" * 63
    assert retraining_job(incident_id(policy, "e", 1), 1) != retraining_job(incident_id(policy, "e", 2), 1)


@given(st.text(), st.integers(1, 40))
def test_slugs_are_short_plain_and_never_empty(text: str, limit: int) -> None:
    made = slug(text, limit)
    assert 1 <= len(made) <= limit
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
