"""DIR/env, and what children inherit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from emulator.certificates import ensure
from emulator.config import load
from emulator.environment import Addresses, for_child, platform_variables, read, write
from tests.support.platform import ROOT


def test_a_shell_can_source_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    write(path, {"PLAIN": "a", "SPACED": "a 'b' \"c\" $d", "URL": "https://x?a=1&b=2"})
    assert path.stat().st_mode & 0o777 == 0o600
    shell = shutil.which("sh")
    assert shell is not None
    script = f'set -a; . {path}; printf "%s\n" "$PLAIN" "$SPACED" "$URL"'
    assert subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True).stdout.splitlines() == [
        "a", "a 'b' \"c\" $d", "https://x?a=1&b=2"]


def test_it_leads_the_sdks_to_the_platform(tmp_path: Path) -> None:
    variables = platform_variables(load(ROOT / "platform.yaml"), Addresses("https://localhost:1", "http://127.0.0.1:2", "http://127.0.0.1:3"),
                                   ensure(tmp_path), "header")
    assert variables["ARM_CLOUD_METADATA_URL"].startswith("https://localhost:1/metadata/endpoints?api-version=")
    assert variables["REGISTRY_DISCOVERY_ENDPOINT_URL"] == "https://localhost:1/"
    assert (variables["IDENTITY_ENDPOINT"], variables["IDENTITY_HEADER"]) == ("https://localhost:1/msi/token", "header")
    assert variables["REQUESTS_CA_BUNDLE"] == variables["SSL_CERT_FILE"] == str(tmp_path / "bundle.pem")
    assert variables["HTTPS_PROXY"] == variables["https_proxy"] == "http://127.0.0.1:3"
    assert [variables[f"AZUREML_WORKSPACE_{stage}"] for stage in ("DEV", "STAGING", "PROD")] == ["mlw-dev", "mlw-staging", "mlw-prod"]
    assert (variables["AZUREML_REGISTRY"], variables["AZURE_RESOURCE_GROUP"]) == ("shared-registry", "rg-pilotage")


def test_a_child_does_not_inherit_somebodys_sign_in() -> None:
    inherited = {"PATH": "/bin", "AZURE_CLIENT_ID": "real", "AZURE_CLIENT_SECRET": "real", "HTTPS_PROXY": "http://corporate"}
    assert for_child(inherited, {"HTTPS_PROXY": "ours"}) == {"PATH": "/bin", "HTTPS_PROXY": "ours"}


def test_the_certificates_are_made_once(tmp_path: Path) -> None:
    first = ensure(tmp_path)
    before = first.chain.read_bytes()
    assert ensure(tmp_path).chain.read_bytes() == before
    assert first.key.stat().st_mode & 0o777 == 0o600
    assert first.authority.read_bytes() in first.bundle.read_bytes()
    assert len(first.bundle.read_bytes()) > 100_000  # public roots too
    first.trust()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    variables = {"EMPTY": "", "SEVERAL": "one\ntwo = 2\n# three", "QUOTED": "a 'b' \"c\" $d \\", "SIGNED": "a=b=="}
    write(tmp_path / "env", variables)
    assert read(tmp_path / "env") == variables
