"""How the story is told: one line as each thing happens, with the time since the start."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


class Narrator:
    """Prints lines with the seconds since the start; plain text where there is no terminal."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def chapter(self, title: str) -> None:
        self._console.print(f"\n[bold]{title}[/bold]")

    def say(self, text: str, style: str | None = None) -> None:
        self._console.print(f"{self.seconds:6.1f}s  {text}", style=style, markup=False, soft_wrap=True)

    def good(self, text: str) -> None:
        self.say(f"✓ {text}", "green")

    def bad(self, text: str) -> None:
        self.say(f"✗ {text}", "red")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        self._console.print()
        self._console.print(table)
