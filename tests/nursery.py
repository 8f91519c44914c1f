"""Processes that need not load torch first: a server that has loaded it forks one for every command.

The libraries are loaded, `stylize` is not: each process reads its modules and its environment anew. The
server itself never computes, so that no thread of OpenMP is lost in a fork.
"""

import gc
import importlib
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Never

LIBRARIES = ("numpy", "PIL.Image", "rich.console", "safetensors.torch", "torch", "torchvision", "typer")


class Nursery:
    """Starts commands by way of one server process."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(
        self, arguments: list[str], cwd: Path, env: dict[str, str], stdin: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """`python -m stylize` with these arguments, like `subprocess.run`."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            streams = {name: str(Path(folder, name)) for name in ("stdin", "stdout", "stderr")}
            Path(streams["stdin"]).write_bytes(stdin)
            order = {"arguments": arguments, "cwd": str(cwd), "env": env, **streams}
            self.server.stdin.write(json.dumps(order) + "\n")
            self.server.stdin.flush()
            if not select.select([self.server.stdout], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(arguments, timeout)
            code = int(self.server.stdout.readline())
            output = [Path(streams[name]).read_bytes() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(["stylize", *arguments], code, *output)

    def close(self) -> None:
        """End the server and what it has started."""
        self.server.kill()
        self.server.wait()


def serve() -> None:
    """Read orders, fork for each, and tell the exit code."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            become(order)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def become(order: dict[str, Any]) -> Never:
    """Turn this process into the command; it ends with its exit code."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(os.open(order[name], os.O_RDWR | os.O_CREAT), number)
    sys.stdin = sys.__stdin__ = os.fdopen(0)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.path[0] = order["cwd"]
    sys.argv = ["stylize", *order["arguments"]]
    code: Any = 1
    try:
        runpy.run_module("stylize", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the libraries would take longer to tidy up than most commands take


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # or each process would copy what its collector only looks through
    serve()
    os._exit(0)
