"""`pilotage passport`: fetch the evidence of a promotion, and verify it anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pilotage.client import PilotageClient
from pilotage.console import out, show_json, telling
from pilotage.domain.signatures import Jwk, thumbprint
from pilotage.errors import InvalidInput
from pilotage.passports.verifying import Verdict, verify
from pilotage.passports.verifying_audits import BEGINS, AuditVerdict, verify_audit

app = typer.Typer(help="The evidence of a promotion.", no_args_is_help=True)
audit = typer.Typer(help="The evidence of a period.", no_args_is_help=True)
UNTRUSTED = 2
"""Exit code: the file is sound by the keys that it brings itself, and those were compared with nothing."""


@app.command("get")
def get(
    promotion: Annotated[str, typer.Argument(help="Id of the promotion.")],
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", help="Write the file here; <promotion>.passport.json when not given.")] = None,
    url: Annotated[str | None, typer.Option("--url", envvar="FUNCTIONS_URL", help="The app's address.")] = None,
) -> None:
    """Fetch a passport as a file."""
    with telling():
        found = PilotageClient.from_environment(url).passport(promotion)
    target = output or Path(f"{promotion}.passport.json")
    target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    out().print(f"{target}: {found['head']['count']} entries; verify it with `pilotage passport verify {target}`", markup=False)


@audit.command("export")
def export(
    begin: Annotated[str, typer.Option("--from", help="The first day, such as 2026-07-01, or a time with a zone.")],
    end: Annotated[str, typer.Option("--to", help="The day, or time, that is not part of it any more.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the zip here; audit-<from>-<to>.zip when not given.")] = None,
    url: Annotated[str | None, typer.Option("--url", envvar="FUNCTIONS_URL", help="The app's address.")] = None,
) -> None:
    """Everything that was written, refused and said in a period, as one zip that proves itself."""
    with telling():
        content = PilotageClient.from_environment(url).audit(begin, end)
        target = output or Path(f"audit-{begin[:10]}-{end[:10]}.zip")
        try:
            target.write_bytes(content)
        except OSError as error:
            raise InvalidInput(f"{target} can't be written: {error.strerror}") from None
    out().print(f"{target}: {len(content)} bytes; verify it with `pilotage passport verify {target}`", markup=False)


@app.command("keys")
def keys(url: Annotated[str | None, typer.Option("--url", envvar="FUNCTIONS_URL", help="The app's address.")] = None) -> None:
    """Print the app's public keys: keep them, and give them to `verify --keys`."""
    with telling():
        show_json(PilotageClient.from_environment(url).keys())


@app.command("verify")
def verify_file(
    file: Annotated[Path, typer.Argument(help="A passport file, or the zip of an audit.")],
    key_file: Annotated[Path | None, typer.Option("--keys", help="A JWK Set that you trust, as `passport keys` prints it.")] = None,
    anchor: Annotated[str | None, typer.Option(
        help="The digest on the registry's model (property pilotage.passport.<promotion>): nothing is missing at the end.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Check a passport offline: every changed, missing, reordered or foreign entry is told.

    Ends with 0 when it is sound and signed by keys you trust, with 1 when it is not sound, with 2 when it is sound
    by its own keys and no --keys were given.
    """
    with telling():
        content, trusted = _read(file), _trusted(key_file)
        is_audit = content.startswith(BEGINS)
        if is_audit and anchor is not None:
            raise InvalidInput("--anchor: is of one passport; this is the zip of an audit")
        verdict = verify_audit(content, trusted) if is_audit else verify(content, trusted, anchor)
    if as_json:
        show_json({**vars(verdict), "sound": verdict.sound})
    else:
        for problem in verdict.problems:
            out().print(Text(problem, style="red"))
        if verdict.sound:
            out().print(f"sound: {_described(verdict)}", markup=False)
        if verdict.sound and not verdict.trusted:
            out().print(f"not compared with keys you trust: it is signed by {', '.join(verdict.keys)}; see --keys", markup=False)
    raise typer.Exit(1 if not verdict.sound else 0 if verdict.trusted else UNTRUSTED)


def _described(verdict: Verdict | AuditVerdict) -> str:
    if isinstance(verdict, AuditVerdict):
        return f"{verdict.period}, {verdict.passports} passports with {verdict.entries} entries"
    state = "closed" if verdict.closed else "not closed yet"
    return f"{verdict.passport}, {verdict.entries} entries, {state}, up to {verdict.digest}"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {error.strerror}") from None


def _trusted(file: Path | None) -> dict[str, Jwk] | None:
    """Keys by thumbprint, which is computed here: a name in the file proves nothing. Raises InvalidInput."""
    if file is None:
        return None
    try:
        value = json.loads(_read(file))
        return {thumbprint(jwk): jwk for jwk in value["keys"]}
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{file} is no JWK Set with P-256 keys: `pilotage passport keys` prints one") from None
