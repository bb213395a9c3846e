"""The unmodified storage SDKs under their production names, and the platform's own way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from azure.core import MatchConditions
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError
from azure.data.tables import TableServiceClient, UpdateMode
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas

from emulator.azurite import account_key
from emulator.storage import AzuriteStorage
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.xdist_group("sdk")
ACCOUNT = "stmlwdev"
BLOBS, TABLES = f"https://{ACCOUNT}.blob.core.windows.net", f"https://{ACCOUNT}.table.core.windows.net"
ACCOUNTS = ("stmlwdev", "stmlwstaging", "stmlwprod", "stsharedregistry", "stpilotage")


@pytest.fixture
def container(as_ada: LivePlatform) -> ContainerClient:
    """A container of its own, with the token of a managed identity."""
    return BlobServiceClient(BLOBS, DefaultAzureCredential()).create_container(f"c{uuid4().hex}")


class TestBlobs:
    @pytest.mark.parametrize("account", ACCOUNTS)
    def test_each_account_takes_a_managed_identitys_token(self, as_ada: LivePlatform, account: str) -> None:
        client = BlobServiceClient(f"https://{account}.blob.core.windows.net", DefaultAzureCredential())
        blob = client.create_container(f"c{uuid4().hex}").upload_blob("a/b.txt", account)
        assert blob.download_blob().readall() == account.encode()
        assert blob.url.startswith(f"https://{account}.blob.core.windows.net/")

    def test_create_only_writes_hold(self, container: ContainerClient) -> None:
        blob = container.get_blob_client("once")
        blob.upload_blob(b"first", overwrite=False)
        with pytest.raises(ResourceExistsError):
            blob.upload_blob(b"second", overwrite=False)
        assert blob.download_blob().readall() == b"first"

    def test_a_key_opens_its_own_account_only(self, as_ada: LivePlatform) -> None:
        own = {"account_name": ACCOUNT, "account_key": account_key(ACCOUNT)}
        assert BlobServiceClient(BLOBS, own).get_service_properties()
        with pytest.raises(ClientAuthenticationError):
            BlobServiceClient(BLOBS, own | {"account_key": account_key("stmlwprod")}).get_service_properties()

    def test_a_signature_opens_what_it_says_and_no_more(self, container: ContainerClient) -> None:
        container.upload_blob("x", b"x")
        name = container.container_name
        sas = generate_container_sas(ACCOUNT, name, account_key=account_key(ACCOUNT), permission=ContainerSasPermissions(read=True),
                                     expiry=datetime.now(UTC) + timedelta(minutes=5))
        reader = ContainerClient(BLOBS, name, sas)
        assert reader.download_blob("x").readall() == b"x"
        with pytest.raises(HttpResponseError):
            reader.upload_blob("y", b"y")

    @pytest.mark.parametrize("claims", ["audience", "signature"])
    def test_a_token_for_something_else_does_not_open_it(self, as_ada: LivePlatform, claims: str) -> None:
        token = DefaultAzureCredential().get_token("https://management.azure.com/.default") if claims == "audience" else None

        class Fixed:
            def get_token(self, *scopes: str, **options: object) -> AccessToken:
                return token or AccessToken("a.b.c", int(datetime.now(UTC).timestamp()) + 600)

        with pytest.raises(ClientAuthenticationError):
            BlobServiceClient(BLOBS, Fixed(), retry_total=0).get_service_properties()


def test_tables(as_ada: LivePlatform) -> None:
    client = TableServiceClient(TABLES, credential=DefaultAzureCredential()).create_table(f"t{uuid4().hex}")
    client.create_entity({"PartitionKey": "p", "RowKey": "r", "n": 1})
    with pytest.raises(ResourceExistsError):
        client.create_entity({"PartitionKey": "p", "RowKey": "r", "n": 2})
    row = client.get_entity("p", "r")
    row["n"] = 3
    etag = row.metadata["etag"]
    client.update_entity(row, mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(HttpResponseError):
        client.update_entity(row, mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified)
    assert [item["n"] for item in client.query_entities("PartitionKey eq 'p'")] == [3]


def test_tables_by_key(as_ada: LivePlatform) -> None:
    client = TableServiceClient(TABLES, credential=AzureNamedKeyCredential(ACCOUNT, account_key(ACCOUNT)))
    assert client.get_service_properties()


class TestTheWayOut:
    """What the proxy of DIR/env does with other places."""

    @pytest.fixture
    def http(self, sdk_platform: LivePlatform) -> Iterator[httpx.Client]:
        with httpx.Client(proxy=sdk_platform.env["HTTPS_PROXY"], verify=sdk_platform.env["SSL_CERT_FILE"], trust_env=False) as client:
            yield client

    @pytest.mark.parametrize("host", ["management.azure.com", "login.microsoftonline.com", "somebody.blob.core.windows.net"])
    def test_public_azure_is_out_of_reach(self, http: httpx.Client, host: str) -> None:
        with pytest.raises(httpx.ProxyError, match="403"):
            http.get(f"https://{host}/")

    @pytest.mark.parametrize("kind", ["blob", "queue", "table"])
    def test_the_three_kinds_of_storage_are_there(self, http: httpx.Client, kind: str) -> None:
        assert http.get(f"https://{ACCOUNT}.{kind}.core.windows.net/").status_code in (400, 403)


class TestFaults:
    """Trouble between a client and its storage."""

    @pytest.fixture
    def blobs(self, as_ada: LivePlatform) -> Iterator[BlobServiceClient]:
        yield BlobServiceClient(BLOBS, DefaultAzureCredential(), retry_total=2, initial_backoff=0, increment_base=0)
        as_ada.clear_faults()

    def test_a_dropped_connection_is_retried_by_the_sdk(self, as_ada: LivePlatform, blobs: BlobServiceClient) -> None:
        blobs.get_service_properties()  # the connection that the client keeps
        fault = as_ada.fault(service="storage", path=rf"^{ACCOUNT}\.blob", action="drop")
        assert blobs.get_service_properties()
        assert next(item["hits"] for item in as_ada.control("GET", "/faults")["items"] if item["id"] == fault) == 1

    def test_storage_that_stays_away_is_an_error(self, as_ada: LivePlatform, blobs: BlobServiceClient) -> None:
        as_ada.fault(service="storage", path=rf"^{ACCOUNT}\.blob", action="status", status=503, count=100)
        with pytest.raises(Exception, match="503"):
            blobs.get_service_properties()


class TestTheWayIn:
    """`emulator.storage`, which the services of the platform use."""

    @pytest.fixture
    def storage(self, sdk_platform: LivePlatform) -> Iterator[AzuriteStorage]:
        ports = json.loads((sdk_platform.state / "ports.json").read_text())
        found = AzuriteStorage(ports["blob"], Path(sdk_platform.env["SSL_CERT_FILE"]))
        yield found
        found.close()

    def test_blobs_come_and_go(self, storage: AzuriteStorage) -> None:
        name = f"c{uuid4().hex}"
        storage.ensure_container(ACCOUNT, name)
        storage.ensure_container(ACCOUNT, name)
        for blob in ("b/2", "b/1", "a", "b 3/ü?#%.txt"):
            storage.write(ACCOUNT, name, blob, blob.encode())
        assert storage.list(ACCOUNT, name, "b/") == ["b/1", "b/2"]
        assert storage.list(ACCOUNT, name, "") == ["a", "b 3/ü?#%.txt", "b/1", "b/2"]
        assert storage.read(ACCOUNT, name, "b 3/ü?#%.txt").decode() == "b 3/ü?#%.txt"
        storage.write(ACCOUNT, name, "a", b"again")
        assert storage.read(ACCOUNT, name, "a") == b"again"

    def test_two_may_make_one_container(self, storage: AzuriteStorage, sdk_platform: LivePlatform) -> None:
        other = AzuriteStorage(json.loads((sdk_platform.state / "ports.json").read_text())["blob"], Path(sdk_platform.env["SSL_CERT_FILE"]))
        name = f"c{uuid4().hex}"
        storage.ensure_container(ACCOUNT, name)
        other.ensure_container(ACCOUNT, name)
        other.close()

    def test_folders_go_up_and_come_down(self, storage: AzuriteStorage, tmp_path: Path) -> None:
        name, source = f"c{uuid4().hex}", tmp_path / "source"
        (source / "deep" / "er").mkdir(parents=True)
        (source / "top.txt").write_text("top")
        (source / "deep" / "er" / "big.bin").write_bytes(b"x" * 5_000_000)
        assert storage.upload(ACCOUNT, name, "models/m/", source) == ["models/m/deep/er/big.bin", "models/m/top.txt"]
        assert storage.upload(ACCOUNT, name, "", source / "top.txt") == ["top.txt"]
        written = storage.download(ACCOUNT, name, "models/m", tmp_path / "target")
        assert [path.relative_to(tmp_path / "target").as_posix() for path in written] == ["deep/er/big.bin", "top.txt"]
        assert (tmp_path / "target" / "deep" / "er" / "big.bin").read_bytes() == b"x" * 5_000_000
        assert storage.download(ACCOUNT, name, "top.txt", tmp_path / "one") == [tmp_path / "one" / "top.txt"]

    def test_its_signatures_are_real(self, storage: AzuriteStorage, as_ada: LivePlatform) -> None:
        name = f"c{uuid4().hex}"
        storage.ensure_container(ACCOUNT, name)
        storage.write(ACCOUNT, name, "x", b"x")
        reader = ContainerClient.from_container_url(f"{storage.blob_url(ACCOUNT, name)}?{storage.sas(ACCOUNT, name)}")
        assert reader.download_blob("x").readall() == b"x"
        with pytest.raises(HttpResponseError):
            reader.upload_blob("y", b"y")
        writer = ContainerClient.from_container_url(f"{storage.blob_url(ACCOUNT, name)}?{storage.sas(ACCOUNT, name, 'racwdl')}")
        writer.upload_blob("y", b"y")
        assert storage.blob_url(ACCOUNT, name, "y") == f"{BLOBS}/{name}/y"
