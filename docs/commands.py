"""Write docs/commands.md from the code: every command with its options, and the exit codes.

    python docs/commands.py

tests/test_docs.py fails when the file does not say what the code says.
"""

import errno
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from stylize.cli import app
from stylize.errors import TABLE, ExitCode

PAGE = Path(__file__).with_suffix(".md")

_INTRODUCTION = """# Commands

Written by `python docs/commands.py` from the code; please change it there. `stylize --install-completion`
teaches your shell the commands, options and styles.

"""

_LEFT_OUT = {"help", "install_completion", "show_completion"}
"""Options whose texts are not ours."""

_CODES = {
    ExitCode.OK: "all is done",
    ExitCode.FAILED: "something failed; what could be done is done",
    ExitCode.USAGE: "the command makes no sense; nothing was done",
    ExitCode.INTERRUPTED: "Ctrl-C; the same command goes on, `apply` with `--skip-existing`, or `--resume`",
    ExitCode.CLOSED_PIPE: "the reader of standard output went away",
}


def reference() -> str:
    """The whole page, as Markdown."""
    group = typer.main.get_command(app)
    parts = [_INTRODUCTION]
    for name, command in sorted(_commands(group, "stylize")):
        parts.append(_section(name, command))
    return "".join([*parts, _exit_codes(), _errors()])


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with its full name."""
    if not command.hidden:
        yield name, command
        for child, inner in getattr(command, "commands", {}).items():
            yield from _commands(inner, f"{name} {child}")


def _section(name: str, command: Any) -> str:
    """A command: what it does, and tables of its arguments and options."""
    parts = [f"## {name}\n\n", _prose(command.help or ""), "\n\n"]
    shown = [p for p in command.params if not p.hidden and p.name not in _LEFT_OUT]
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        rows = [_row(p) for p in shown if p.param_type_name == kind]
        if rows:
            parts += [f"| {title} | | Default |\n|---|---|---|\n", *rows, "\n"]
    return "".join(parts)


def _row(parameter: Any) -> str:
    """One line of a table."""
    if parameter.param_type_name == "argument":
        names = f"`{(parameter.metavar or parameter.name.upper()).strip('[]')}`"
    else:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"| {names} | {_prose(parameter.help or '')} | {_default(parameter)} |\n"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or callable(value) or value in ((), []):
        return ""
    return f"`{'yes' if value is True else value}`"


def _prose(text: str) -> str:
    """Help text without rich's markup; what follows "Examples:" is code, each line its own."""
    text = re.sub(r"\[/?(bold|red|green|dim|italic)\]", "", text.replace("\f", "")).strip()
    head, found, tail = text.partition("Examples:") if "Examples:" in text else text.partition("Example:")
    head = " ".join(head.split("\n")) if "\n\n" not in head else re.sub(r"(?<!\n)\n(?!\n)", " ", head)
    if not found:
        return head.strip().replace("|", "\\|")
    lines = "\n".join(line.strip() for line in tail.splitlines() if line.strip())
    return f"{head.strip()}\n\n```sh\n{lines}\n```"


def _exit_codes() -> str:
    rows = [f"| {code.value} | {_CODES[code]} |\n" for code in ExitCode]
    return "".join(["## Exit codes\n\n| Code | |\n|---|---|\n", *rows, "\n"])


def _errors() -> str:
    """The table of errors: the first row that fits counts."""
    head = "## Errors\n\nThe first row that fits counts. `STYLIZE_DEBUG=1` shows the full traceback.\n\n"
    rows = [f"| {_kind(row)} | {row.sentence or '(nothing)'} | {row.code.value} |\n" for row in TABLE]
    return "".join([head, "| What happened | What is said | Exit code |\n|---|---|---|\n", *rows])


def _kind(row: Any) -> str:
    name = row.kind if isinstance(row.kind, str) else row.kind.__name__
    name = f"{name} {errno.errorcode[row.number]}" if row.number else name
    return f"{name}: {row.words}" if row.words else name


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    sys.stderr.write(f"Wrote {PAGE}\n")
