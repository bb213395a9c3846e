from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from emulator.certificates import Certificates, ensure
from tests.support.fault_bench import Bench, running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure(tmp_path_factory.mktemp("certs"))


@pytest.fixture
async def bench(certificates: Certificates) -> AsyncIterator[Bench]:
    async with running(certificates) as found:
        yield found
