"""`DIR/env`: the variables that lead the unmodified SDKs, the CLI and the app to the platform."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.certificates import Certificates
from emulator.config import PlatformConfig


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things listen."""

    base_url: str
    functions_url: str
    proxy_url: str


def platform_variables(config: PlatformConfig, addresses: Addresses, certificates: Certificates, identity_header: str) -> dict[str, str]:
    """What a process needs to reach the platform through the real SDKs."""
    bundle = str(certificates.bundle)
    variables = {
        "ARM_CLOUD_METADATA_URL": f"{addresses.base_url}/metadata/endpoints?api-version=2019-05-01",
        "REGISTRY_DISCOVERY_ENDPOINT_URL": f"{addresses.base_url}/",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "IDENTITY_ENDPOINT": f"{addresses.base_url}/msi/token",
        "IDENTITY_HEADER": identity_header,
        "AZURE_TENANT_ID": config.tenant,
        "AZURE_SUBSCRIPTION_ID": config.subscription,
        "AZURE_RESOURCE_GROUP": config.resource_group,
        "AZUREML_REGISTRY": config.registries[0].name if config.registries else "",
        "HTTPS_PROXY": addresses.proxy_url,
        "NO_PROXY": "localhost,127.0.0.1",
        "EMULATOR_URL": addresses.base_url,
    }
    for identity in config.identities:
        if identity.client_id:
            # AZURE_CLIENT_ID=this makes azure-identity act as that identity.
            variables[f"EMULATOR_CLIENT_ID_{identity.id.upper()}"] = identity.client_id
    for workspace in config.workspaces:
        if workspace.stage:
            variables[f"AZUREML_WORKSPACE_{workspace.stage.upper()}"] = workspace.name
    return variables


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Replace the file whole; a script may source it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())))
    temporary.chmod(0o600)
    os.replace(temporary, path)
