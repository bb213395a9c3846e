"""`python -m demo`: tell the story on a fresh local platform; exit 0 only if each of its promises was observed."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from demo.errors import NotObserved
from demo.narrator import Narrator
from demo.people import Approver, Pilotage
from demo.platform import Platform, PlatformFailed
from demo.science import DataScientist
from demo.story import Story


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--interactive", action="store_true", help="leave the platform running at the end, and print its addresses")
    parser.add_argument("--state", type=Path, help="keep the platform's state here (default: a temporary folder)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("azure").setLevel(logging.ERROR)
    folder = arguments.state or Path(tempfile.mkdtemp(prefix="pilotage-demo-"))
    narrator = Narrator()
    try:
        with Platform(folder / "platform", narrator) as env:
            narrator.good("the local platform is ready: Functions host, Event Grid, Azure ML, identity, storage")
            _act_as_ada(env)
            story = Story(env, narrator, Pilotage(env), Approver(env, "grace", "grace"), DataScientist(env, folder))
            _tell(story)
            narrator.good(f"the whole story was observed, in {narrator.seconds:.0f} s")
            if arguments.interactive:
                _stay(env, folder, narrator)
        if arguments.state is None:
            shutil.rmtree(folder, ignore_errors=True)  # kept when something went wrong: the logs are in it
        return 0
    except (NotObserved, PlatformFailed) as failed:
        narrator.bad(str(failed))
        narrator.say(f"the logs are in {folder / 'platform' / 'logs'}")
        return 1
    except KeyboardInterrupt:
        return 130


def _tell(story: Story) -> None:
    first = story.first_version()
    blue = story.pilotage.promotion(first)["deployment"]
    second = story.drift_and_second_version()
    story.broken_version()
    story.rolled_back(second, {blue: 100})
    story.ending()


def _act_as_ada(env: dict[str, str]) -> None:
    """This process is Ada's: the SDKs find the platform, and her identity, by environment variables alone."""
    os.environ.update({name: value for name, value in env.items() if not name.startswith("PILOTAGE_")})
    os.environ["AZURE_CLIENT_ID"] = env["EMULATOR_CLIENT_ID_ADA"]


def _stay(env: dict[str, str], folder: Path, narrator: Narrator) -> None:
    narrator.table("Still running; Ctrl-C ends it", ["what", "where"], [
        ["Functions app", env["FUNCTIONS_URL"]], ["Azure ML, Event Grid, identity", env["EMULATOR_URL"]],
        ["environment for your shell", f"set -a; . {folder / 'platform' / 'env'}; set +a"],
        ["promotions", "pilotage promotions list"]])
    try:
        input("Press Enter to end. ")
    except EOFError:
        return


if __name__ == "__main__":
    sys.exit(main())
