"""The local platform in tests: `pytest_plugins = ["emulator.testing"]` in a `conftest.py` brings the fixtures.

`emulator_platform` is one platform for the whole session; `clean_platform` is the same one, emptied before each test
that asks for it, with this process's environment set so that the real Azure SDKs find it. Override
`emulator_options` to choose the configuration. See docs/emulator/README.md.
"""

from emulator.testing.fixtures import clean_platform, emulator_options, emulator_platform
from emulator.testing.platform import DEADLINE, LivePlatform, PlatformFailed, wait_for

__all__ = ["DEADLINE", "LivePlatform", "PlatformFailed", "clean_platform", "emulator_options", "emulator_platform", "wait_for"]
