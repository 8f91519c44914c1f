"""`stylize ui`: the window in a browser."""

import errno
import os
import shutil
import signal
import socket
import sys
import threading
import time
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from stylize.cli.options import DeviceOption, DtypeOption
from stylize.console import say, talk, write_line
from stylize.errors import ExitCode, StylizeError, UsageError

_LOCAL = "127.0.0.1"
_TAKEN = "Port {} is taken; choose another with --port, or leave it out."
_NO_ADDRESS = "{} is no address of this machine; leave out --host, or use 0.0.0.0."
_FIRST_PORT = 7860
_MOMENT = 0.8
"""Seconds that a window which is ending has for its end."""


def ui(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Any but 127.0.0.1 lets in all who can reach this machine: there is "
            "no password and no encryption; they use its processor, see your styles and may add some."
        ),
    ] = _LOCAL,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A further name by which browsers may call this window, such as that of a proxy in front.",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860.")
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    max_upload: Annotated[int, typer.Option(min=1, max=10_000, help="Megabytes that a file may have.")] = 100,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=10_000, help="Megapixels that a picture may have.")
    ] = 100,
    max_seconds: Annotated[
        int, typer.Option(min=1, max=86_400, help="Seconds that painting one file may take.")
    ] = 900,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
) -> None:
    """Open a window in the browser: drop a photo, see it in every style, blend, vary, download.

    It prints its address, and serves this machine only; nothing is sent anywhere. Ctrl-C ends it.

    [bold]Example:[/bold] stylize ui --open
    """
    if find_spec("gradio") is None:
        raise StylizeError("The window needs Gradio; run: pip install gradio")
    _check_address(host, port)
    _end_on_signals()
    with TemporaryDirectory(prefix="stylize-ui-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        _prepare_gradio(folder)
        from stylize.guard import Rules

        rules = Rules.of(host, allow_host or (), folder / "uploads")
        port = port or _free_port(host)
        say(f"Starting the window at {_address(host, port)} ...")
        with talk.status("Opening the window"):
            from stylize.atelier import Atelier  # torch and Gradio come with these
            from stylize.window import Window

            atelier = Atelier(folder, device, dtype, max_megapixels, max_seconds)
            atelier.start()
            window = Window(atelier, host, rules, max_upload)
            try:
                address = window.launch(port)
            except OSError as error:  # somebody was quicker
                raise UsageError(_TAKEN.format(port)) from error
        write_line(address)
        if not window.is_local:
            say("Whoever reaches this machine can use this window; there is no password.")
        say("Ctrl-C ends it.")
        if browser:
            webbrowser.open(address)
        try:
            with suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
        finally:
            _end_soon(folder)
            window.close()
    _leave()


def _free_port(host: str) -> int:
    """The first port from 7860 that nothing listens on."""
    for port in range(_FIRST_PORT, _FIRST_PORT + 100):
        with suppress(OSError):
            for address in (_LOCAL, host):  # Gradio wants it free there as well
                socket.create_server((address, port)).close()
            return port
    raise UsageError("All ports from 7860 to 7959 are taken; choose another with --port.")


def _address(host: str, port: int) -> str:
    """What a browser calls the window."""
    name = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _end_on_signals() -> None:
    """Let what ends programs end this one as Ctrl-C does; `nohup` still keeps it when the terminal goes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _end_soon(folder: Path) -> None:
    """From now on, what is still under way has a moment; then the folder goes and the process ends."""

    def end() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        _leave()

    timer = threading.Timer(_MOMENT, end)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    """End the process at once, and wait neither for threads nor for libraries that tidy up."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    os._exit(ExitCode.OK)


def _prepare_gradio(folder: Path) -> None:
    """Set what Gradio reads when it is loaded: uploads lie in a folder, and nobody is told anything.

    What is set for other programs (GRADIO_ALLOWED_PATHS, GRADIO_SHARE ...) must not open this one.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {"GRADIO_TEMP_DIR": f"{folder}/uploads", "GRADIO_EXAMPLES_CACHE": f"{folder}/examples"}
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _check_address(host: str, port: int | None) -> None:
    """Raises UsageError where nothing can listen."""
    try:
        for address in (host, _LOCAL):
            socket.create_server((address, port or 0)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(_TAKEN.format(port)) from error
        if error.errno == errno.EACCES:
            raise UsageError(f"Port {port} may not be used; choose one above 1023 with --port.") from error
        raise UsageError(_NO_ADDRESS.format(host)) from error
    except (TypeError, ValueError) as error:  # what cannot be a name
        raise UsageError(_NO_ADDRESS.format(host)) from error
