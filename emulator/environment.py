"""`DIR/env`: the variables that lead the unmodified SDKs, the CLI and the app to the platform."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.certificates import Certificates
from emulator.config import PlatformConfig

_OF_ANOTHER_PLACE = (
    "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_PASSWORD", "AZURE_USERNAME", "AZUREML_CURRENT_CLOUD", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT",
    "MSI_SECRET", "ALL_PROXY", "all_proxy")
"""What would lead a child to someone's real Azure, or to the proxy of the network that this machine is in."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things listen."""

    base_url: str
    functions_url: str
    proxy_url: str


def platform_variables(config: PlatformConfig, addresses: Addresses, certificates: Certificates, identity_header: str) -> dict[str, str]:
    """What a process needs to reach the platform through the real SDKs."""
    bundle, local = str(certificates.bundle), "localhost,127.0.0.1"
    variables = {
        "ARM_CLOUD_METADATA_URL": f"{addresses.base_url}/metadata/endpoints?api-version=2019-05-01",
        "REGISTRY_DISCOVERY_ENDPOINT_URL": f"{addresses.base_url}/",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "IDENTITY_ENDPOINT": f"{addresses.base_url}/msi/token",
        "IDENTITY_HEADER": identity_header,
        # DefaultAzureCredential goes straight there, and never to whoever is signed in on this machine.
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "AZURE_TENANT_ID": config.tenant,
        "AZURE_SUBSCRIPTION_ID": config.subscription,
        "AZURE_RESOURCE_GROUP": config.resource_group,
        "AZUREML_REGISTRY": config.registries[0].name if config.registries else "",
        # Both ways of writing them: clients that find the small one do not look at the other.
        "HTTPS_PROXY": addresses.proxy_url,
        "https_proxy": addresses.proxy_url,
        "NO_PROXY": local,
        "no_proxy": local,
        "EMULATOR_URL": addresses.base_url,
    }
    for workspace in config.workspaces:
        if workspace.stage:
            variables[f"AZUREML_WORKSPACE_{workspace.stage.upper()}"] = workspace.name
    for identity in config.identities:
        if identity.client_id:
            # AZURE_CLIENT_ID=this makes azure-identity act as that identity.
            variables[f"EMULATOR_CLIENT_ID_{identity.id.upper()}"] = identity.client_id
    return variables


def for_child(inherited: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: ours over what this process inherited, without what leads elsewhere."""
    return {name: value for name, value in inherited.items() if name not in _OF_ANOTHER_PLACE} | dict(variables)


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Replace the file whole; a script may source it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.touch(mode=0o600)
    temporary.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())))
    os.replace(temporary, path)


def read(path: Path) -> dict[str, str]:
    """What `write` has written."""
    pairs = (word.partition("=") for word in shlex.split(path.read_text(), comments=True))  # a value may have several lines
    return {name: value for name, _, value in pairs}
