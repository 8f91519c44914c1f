"""The command line: `stylize COMMAND`. Commands import torch only when they run."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from stylize import __version__
from stylize.cli import cycle, styles
from stylize.cli.apply import apply
from stylize.cli.bench import bench
from stylize.cli.evaluate import evaluate
from stylize.cli.optimize import optimize
from stylize.cli.train import train
from stylize.console import debugging, talk
from stylize.errors import ExitCode, StylizeError

app = typer.Typer(
    name="stylize",
    help="Turn photographs into paintings.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(apply)
app.command("stylize", hidden=True, help="The same as apply.")(apply)
app.command()(train)
app.command()(optimize)
app.add_typer(cycle.app)
app.add_typer(styles.app)
app.command("eval")(evaluate)
app.command()(bench)


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
    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="stylize")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else ExitCode.FAILED
    except StylizeError as error:
        if debugging():
            raise
        talk.print(f"[red]Error:[/red] {escape(str(error))}", markup=True)
        return error.exit_code
    except KeyboardInterrupt:
        talk.print("Interrupted.")
        return ExitCode.INTERRUPTED
    return ExitCode.OK
