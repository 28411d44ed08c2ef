"""Console output while a process runs: icons and rules on a terminal, log lines elsewhere."""

import logging
import sys
from typing import TYPE_CHECKING

from src.runtime.logging_setup import printable

if TYPE_CHECKING:
    from rich.console import Console as Terminal

_WIDTH = 60


class Console:
    """Prints for the person at the terminal.

    On a terminal a line carries its icon, and a colour unless ``NO_COLOR`` is set; elsewhere it is a plain log line
    of ``logger`` and the ornaments fall away.
    """

    def __init__(self, logger: logging.Logger, terminal: bool | None = None) -> None:
        self._log = logger
        self._rich: Terminal | None = None
        if sys.stdout.isatty() if terminal is None else terminal:
            from rich.console import Console as Screen  # 40 ms and 8 MB that a service never needs

            self._rich = Screen(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def say(self, text: str, icon: str = "", style: str = "") -> None:
        """Show one line; ``style`` is rich's: green, yellow, red, bold..."""
        if self._rich is None:
            if text.strip():
                self._log.info("%s", text.strip())
        else:
            self._rich.print(printable(f"{icon} {text}" if icon else text), style=style or None)

    def rule(self) -> None:
        """Draw a line across, on a terminal."""
        if self._rich is not None:
            self._rich.print("=" * _WIDTH)

    def gap(self) -> None:
        """Leave a line empty, on a terminal."""
        if self._rich is not None:
            self._rich.print()
