"""The command line: `stylize COMMAND`. Commands import torch only when they run."""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from stylize import __version__
from stylize.cli import cycle, styles
from stylize.cli.apply import apply
from stylize.cli.bench import bench
from stylize.cli.doctor import doctor
from stylize.cli.evaluate import evaluate
from stylize.cli.fuse import fuse
from stylize.cli.optimize import optimize
from stylize.cli.texture import texture
from stylize.cli.train import train
from stylize.cli.ui import ui
from stylize.console import debugging, say
from stylize.errors import ExitCode, row_of, sentence_of

app = typer.Typer(
    name="stylize",
    help="Turn photographs into paintings.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(apply)
app.command("stylize", hidden=True, help="The same as apply.")(apply)
app.command()(train)
app.command()(optimize)
app.command()(fuse)
app.command()(texture)
app.add_typer(cycle.app)
app.add_typer(styles.app)
app.command("eval")(evaluate)
app.command()(ui)
app.command()(bench)
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stylize {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Turn photographs into paintings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; what a user can mend becomes one sentence."""
    # Ask torch for huge pages: large pictures take a fifth less time. It reads this when it starts.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given or ["--help"], prog_name="stylize", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else ExitCode.OK
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            return _give_up(stop.__context__)
        return stop.code if isinstance(stop.code, int) else ExitCode.FAILED
    except BaseException as fault:
        return _give_up(fault)


def _give_up(fault: BaseException) -> int:
    """Say what went wrong, in one sentence; the exit code for it."""
    if debugging():
        traceback.print_exception(fault)
    if sentence := sentence_of(fault):
        say(sentence, "" if isinstance(fault, KeyboardInterrupt) else "Error:")
    if isinstance(fault, OSError):
        _drop_stdout()
    return row_of(fault).code


def _open_standard_streams() -> None:
    """Open closed standard streams (`>&-`) on nothing, or the next file would take what is meant for them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _drop_stdout() -> None:
    """What could not be written to stdout shall not be tried, and fail, once more at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
