"""`python -m bench [NAME] [ARGUMENT ...]`: one benchmark of this folder, or all of them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(argv: list[str]) -> None:
    names = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_"))
    if argv and argv[0] not in names:
        sys.exit(f"no benchmark is called {argv[0]!r}; there are: {', '.join(names)}")
    for name in argv[:1] or names:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
