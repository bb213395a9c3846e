"""`pilotage gates ...`: the gates by hand."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pilotage.console import out, show_json, table
from pilotage.domain.assets import AssetRef
from pilotage.domain.gates import GateOutcome, overall
from pilotage.errors import InvalidInput, PilotageError
from pilotage.policies.folder import GUARDRAILS, load

app = typer.Typer(help="The gates by hand.", no_args_is_help=True)
_TEXT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<version>[^:/]+)$")


@app.command("run")
def run(
    model: Annotated[str, typer.Option(help="NAME:VERSION of a registered model, or a local folder with an MLflow model.")],
    policy: Annotated[Path, typer.Option(help="The policy file with the gates.")],
    workspace: Annotated[str | None, typer.Option(help="Where to deploy; the policy's own workspace when not given.")] = None,
    gate: Annotated[list[str] | None, typer.Option(help="Only this gate (name or kind); may be given several times.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="An online endpoint to use; a new one is made, and deleted, when not given.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the deployment standing.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the report (HTML) here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run a policy's gates on a model before it is registered for promotion. Ends with 1 when they would stop it.

    Works as whoever is signed in to Azure, in their workspace; records nothing, and takes down what it deployed.
    """
    from pilotage.azureml import Connections, OnlineDeployments, PipelineJobs, WorkspaceModelRegistry
    from pilotage.clock import SystemClock
    from pilotage.gates.moving import JobRules
    from pilotage.rehearsal import Rehearsal
    from pilotage.settings import AzureSettings

    logging.getLogger("azure").setLevel(logging.ERROR)  # the SDK tells of its own experiments
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        loaded = load([policy], policy.parent / GUARDRAILS)
        if loaded.problems or not loaded.policies:
            raise InvalidInput("; ".join(map(str, loaded.problems)) or f"{policy} holds no policy")
        rules = loaded.policies[0]
        settings = AzureSettings.from_environment()
        connections = Connections(settings)
        registry = WorkspaceModelRegistry(connections, dict)
        home = workspace or rules.home
        moving = JobRules(settings.gates_data_limit, settings.gates_environment, settings.gates_compute)
        rehearsal = Rehearsal(rules, home, registry, OnlineDeployments(connections), PipelineJobs(connections), SystemClock(),
                              endpoint=endpoint, keep=keep, rules=moving,
                              told=lambda text: progress.print(f"  {text}", markup=False))
        ref, uploaded = _model(model, home, registry)
        try:
            results = rehearsal.run(ref, gate or ())
        finally:
            if uploaded:
                registry.archive(ref)
    except PilotageError as error:
        progress.print(f"error: {error}", markup=False, style="red")
        raise typer.Exit(1) from None
    verdict = overall(results)
    if report is not None:
        from pilotage.web import render_report

        report.write_text(render_report({"title": f"Gates of {model}", "facts": {
            "policy": rules.name, "workspace": home, "recorded": "nowhere: this is a rehearsal"}}, results), encoding="utf-8")
    if as_json:
        show_json({"verdict": verdict.value, "results": [result.model_dump(mode="json") for result in results]})
    else:
        out().print(table("", ["gate", "outcome", "message"], [[r.gate, r.outcome.value, r.message] for r in results]))
        out().print(f"{verdict.value}: " + ("a promotion would go on" if verdict is GateOutcome.PASSED else "a promotion would stop here"))
    raise typer.Exit(0 if verdict is GateOutcome.PASSED else 1)


def _model(text: str, workspace: str, registry: object) -> tuple[AssetRef, bool]:
    """The registered version, or the local folder uploaded as one. Raises InvalidInput."""
    from pilotage.azureml import WorkspaceModelRegistry

    folder = Path(text)
    if folder.is_dir():
        assert isinstance(registry, WorkspaceModelRegistry)
        if not (folder / "MLmodel").is_file():
            raise InvalidInput(f"{folder} has no file MLmodel: save the model with MLflow, or name a registered one as NAME:VERSION")
        # Not `candidate`: a rehearsal's version starts no promotion.
        return registry.register(folder, workspace, "rehearsal", "mlflow_model", {"pilotage-role": "rehearsal"}), True
    if match := _TEXT.match(text):
        return AssetRef(name=match["name"], version=match["version"], workspace=workspace), False
    raise InvalidInput(f"{text!r} is neither a folder nor NAME:VERSION of a registered model")
