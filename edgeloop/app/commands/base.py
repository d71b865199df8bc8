"""What every command shares: the application, the common flags, the exit codes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from edgeloop import __version__
from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.settings import Settings, load

DONE, FAILED, WRONG_USE, NEEDS_A_PERSON = 0, 1, 2, 3

app = App(
    name="edgeloop",
    help="Ties survey answers and engagement to the model versions behind them: which change helped?",
    version=__version__,
    result_action="return_value",
)

Flag = Parameter(negative="")
a_port = validators.Number(gte=0, lte=65_535)
above_zero = validators.Number(gt=0, lte=1_000)


def _no_option(_type: object, path: Path) -> None:
    if str(path).startswith("-") and str(path) != "-":
        raise UsageError(f"Unknown option: {path}. See `edgeloop --help`.")


InputFile = Annotated[Path, Parameter(allow_leading_hyphen=True, validator=_no_option)]
"""A file to read; ``-`` is standard input."""


def _default_home() -> Path:
    return Path(os.environ.get("EDGELOOP_HOME", ".edgeloop"))


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Flags of every command."""

    home: Annotated[
        Path, Parameter(help="Home directory (EDGELOOP_HOME; default ./.edgeloop).", show_default=False)
    ] = field(default_factory=_default_home)
    json: Annotated[bool, Flag, Parameter(help="Findings as JSON.", show_default=False)] = False
    debug: Annotated[bool, Flag, Parameter(help="Show tracebacks.", show_default=False)] = False

    def open(self) -> tuple[Home, Settings]:
        return Home(self.home), load(self.home)
