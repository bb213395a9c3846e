"""A gate whose data is too large for the function moves into an Azure ML job: the same gate, over mounted files.

The models predict in steps of their own, in their own environments, as `contract` has them do; the gate judges in an environment with
its libraries. docs/gates/large-data.md tells what runs where.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilotage.domain.assets import ModelVersion, parse_asset
from pilotage.domain.gate_specs import GateSpec
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, NotFound, OperationFailed, TooLarge
from pilotage.gates.contract import Comparison
from pilotage.gates.file_trial import CANDIDATE, CHAMPION, TrialRecord
from pilotage.gates.interface import Gate, JobOutcome
from pilotage.gates.predictions import AskingGate, predictions
from pilotage.gates.trial import DATA_LIMIT, LiveTrial, asset_ref
from pilotage.messages import GateRequest
from pilotage.ports import ProgramStep, StepsSpec

MOVABLE = frozenset({"champion", "data_quality", "metric", "responsible_ai"})
"""Kinds that measure with data and predictions alone. The others ask the deployment itself, or run as a job anyway."""
PROGRAMS = Path(__file__).parent / "programs"
MODULE = "pilotage.gates.in_job"
ALL_ROWS = 2 ** 62
RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""Tolerances of the deployment's answers against the model's own: those of a contract gate."""
GUIDE = "docs/gates/large-data.md"


@dataclass(frozen=True)
class JobRules:
    """When gates move, and where to; an operator's settings."""

    limit: int = DATA_LIMIT
    """Bytes of data that a function reads for one gate."""
    environment: str | None = None
    """Text of an environment asset with the gates' libraries, resolved in the candidate's workspace."""
    compute: str = "cpu-cluster"

    def limit_of(self, kind: str) -> int:
        """A limit under the usual one moves gates, and stops none of those that can't move."""
        return self.limit if kind in MOVABLE else max(self.limit, DATA_LIMIT)


def may_move(kind: str, trial: LiveTrial) -> bool:
    return kind in MOVABLE and trial.size > trial.limit


def moved(wanted: GateRequest, gate: Gate[Any], spec: GateSpec, trial: LiveTrial, rules: JobRules, why: TooLarge) -> Moved:
    """The job. Raises InvalidInput where it can't be run, with the setting or asset that would let it, and NotFound for its environment."""
    if rules.environment is None:
        raise InvalidInput(f"{why}: with more it runs as an Azure ML job, in an environment with the gates' libraries, and none is "
                           f"configured: register one and set PILOTAGE_GATES_ENVIRONMENT ({GUIDE}), or raise PILOTAGE_GATES_DATA_LIMIT")
    workspace = wanted.target["workspace"]
    environment = _environment(trial, rules.environment, workspace)
    about = {"environment": environment, "data_bytes": trial.size, "limit_bytes": trial.limit}
    record = TrialRecord.of(trial, wanted.kind, wanted.spec, trial.roles, trial.compares, about)
    inputs = {role: (data.type, data.id) for role, data in trial.inputs.items()}
    models: dict[str, str] = {}
    if isinstance(gate, AskingGate):
        models[CANDIDATE] = _predicting("candidate", trial.model, trial.environment, workspace)
        inputs[f"{CANDIDATE}_model"] = (trial.model.type, trial.model.id)
        if record.champion is not None:
            model = record.champion.model
            models[CHAMPION] = _predicting("champion", model, trial.champions_environment, workspace)
            inputs[f"{CHAMPION}_model"] = (model.type, model.id)
    return Moved(record=record, inputs=inputs, models=models, environment=environment, compute=rules.compute,
                 timeout=max(int(spec.timeout.total_seconds()), 1), workspace=workspace)


@dataclass(frozen=True)
class Moved:
    """A gate on its way into a job."""

    record: TrialRecord
    inputs: dict[str, tuple[str, str]]
    models: dict[str, str]
    """Who predicts -> asset id of the environment it does so in."""
    environment: str
    compute: str
    timeout: int
    workspace: str

    def steps(self, name: str, code: str, tags: dict[str, str], experiment: str) -> StepsSpec:
        """`code`: the folder that `packing` filled."""
        data = {role: role for role in self.inputs if not role.endswith("_model")}
        mounted = "".join(f' --data "{role}=${{{{inputs.{role}}}}}"' for role in data)
        judging, steps = {"trial": "trial"} | data, []
        command = f'python -m {MODULE} judge --trial "${{{{inputs.trial}}}}"{mounted}'
        if self.models:
            written = "".join(f' --requests "{who}=${{{{outputs.{who}_requests}}}}"' for who in self.models)
            steps.append(ProgramStep(
                name="ask", program=code, environment=self.environment, inputs={"trial": "trial"} | data,
                command=f'python -m {MODULE} ask --trial "${{{{inputs.trial}}}}"{mounted}{written}',
                outputs=[f"{who}_requests" for who in self.models]))
        for who, environment in self.models.items():
            steps.append(ProgramStep(
                name=who, program=str(PROGRAMS / "offline"), environment=environment, outputs=["predictions"],
                inputs={"model": f"{who}_model", "requests": f"ask.{who}_requests"},
                command='python predict.py --as-served --model "${{inputs.model}}" --samples "${{inputs.requests}}" '
                        f'--max-rows {ALL_ROWS} --result "${{{{outputs.predictions}}}}"'))
            judging |= {f"{who}_requests": f"ask.{who}_requests", f"{who}_predictions": f"{who}.predictions"}
            command += (f' --requests "{who}=${{{{inputs.{who}_requests}}}}"'
                        f' --predictions "{who}=${{{{inputs.{who}_predictions}}}}"')
        steps.append(ProgramStep(name="judge", program=code, environment=self.environment, inputs=judging, outputs=["result"],
                                 command=command + ' --result "${{outputs.result}}"'))
        return StepsSpec(workspace=self.workspace, name=name, steps=steps, inputs=self.inputs, compute=self.compute, tags=tags,
                         experiment=experiment, timeout=self.timeout, documents={"trial": self.record.model_dump_json()})


def judged(trial: LiveTrial, workspace: str, job: JobOutcome) -> GateResult:
    """What the job found, once the deployments were asked whether they answer alike.

    Raises what the gate refused in the job; OperationFailed when it ended without a verdict, or the other way about the champion.
    """
    written = dict(job.files)
    if "refused.json" in written:
        refused = json.loads(written["refused.json"])
        raise {"NotFound": NotFound, "TooLarge": TooLarge}.get(refused["error"], InvalidInput)(refused["message"])
    if job.status != "Completed" or not {"result.json", "job.json", "check.json"} <= set(written):
        link = f" ({job.link})" if job.link else ""
        raise OperationFailed(f"job {job.name} ended {job.status} and wrote no verdict: {job.message or 'see its log'}{link}")
    result = GateResult.model_validate_json(written["result.json"])
    checks = json.loads(written["check.json"])
    found = {who: _compared(trial, checks[who], champion=who == CHAMPION) for who in (CANDIDATE, CHAMPION) if who in checks}
    ran = {"job": job.name, "workspace": workspace} | json.loads(written["job.json"])
    ran["asked_again"] = {who: {"rows": one.rows, "different": one.different, "largest_difference": one.largest}
                          for who, one in found.items()}
    update: dict[str, Any] = {"evidence": result.evidence | {"ran_as_job": ran}}
    for who, one in found.items():
        if one.different:
            about = ", which says nothing of the candidate" if who == CHAMPION else ""
            update["outcome"] = GateOutcome.INCONCLUSIVE if who == CHAMPION else GateOutcome.FAILED
            update["message"] = (f"the {who}'s deployment answers otherwise than its model in its own environment, in {one.different} of "
                                 f"{one.rows} rows ({one.first}): what job {job.name} measured is not what it serves{about}")
            break
    return result.model_copy(update=update)


def _compared(trial: LiveTrial, check: list[dict[str, Any]], *, champion: bool) -> Comparison:
    compared = Comparison(relative=RELATIVE, absolute=ABSOLUTE)
    for number, one in enumerate(check, start=1):
        answer = trial.score(json.dumps(one["request"]).encode(), champion=champion)
        expected = one["predictions"] if isinstance(one["predictions"], list) else [one["predictions"]]
        values = predictions(answer)
        if answer.status != 200 or values is None or len(values) != len(expected):
            values = [f"status {answer.status}"] * len(expected)
        compared = compared.over(number, values, expected)
    return compared


def _environment(trial: LiveTrial, text: str, workspace: str) -> str:
    try:
        return trial.registry.environment(trial.registry.pin("environments", parse_asset(text, workspace))).id
    except (NotFound, ValueError) as error:
        raise InvalidInput(f"PILOTAGE_GATES_ENVIRONMENT is {text}: {error}; register it as {GUIDE} says") from None


def _predicting(who: str, model: ModelVersion, environment: str | None, workspace: str) -> str:
    """The environment in which a model predicts by itself. Raises InvalidInput where it can't."""
    if model.type != "mlflow_model":
        raise InvalidInput(f"the gate's data is too large for the function, and in a job only MLflow models can predict: the {who} "
                           f"{model.ref} is a {model.type}; raise PILOTAGE_GATES_DATA_LIMIT, or save it with MLflow")
    if environment is None:
        by = " it is deployed by" if who == CHAMPION else ""
        raise InvalidInput(f"the gate's data is too large for the function; in a job the {who} {model.ref} predicts in its own "
                           f"environment, and none is pinned: set `environment` in the policy{by}")
    for what, at in (("it", model.ref.workspace), ("its environment", None if "://" in environment else asset_ref(environment).workspace)):
        if at is not None and at.casefold() != workspace.casefold():
            raise InvalidInput(f"the gate's data is too large for the function, and a job in {workspace} can't read the {who} {model.ref}: "
                               f"{what} lies in workspace {at}; deploy it from a registry")
    return environment
