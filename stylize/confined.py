"""Work on files from others in a process of its own, which is ended when the work takes too long. No torch.

A thread cannot be ended, and C code that holds the interpreter's lock stops all other threads, too. A process
can be, and whoever waits for others then has their turn.
"""

import importlib
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from stylize.errors import StylizeError, sentence_of

_Result = TypeVar("_Result")

_START = 180.0
"""Seconds that the process may take to start: it imports torch."""

_CLOSED = "The window is closed."
_ENDED = "What painted this was ended, perhaps for want of memory; take a smaller picture."


class TooLongError(StylizeError):
    """Work was ended because it took too long."""


class Confined:
    """Calls functions in one process, one at a time. The process starts with the first call, or `start`.

    Functions are found by their names in modules, of which one is imported before the time of any call runs;
    what they take and return is pickled.
    """

    def __init__(self, module: str = __name__) -> None:
        self._module = module
        self.generation = 0
        """How many processes there were: what one had kept is lost with it."""
        self._turn = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to start the process, and do not wait for it."""
        with self._turn:
            self._begin()

    def call(self, seconds: float, function: Callable[..., _Result], *values: Any) -> _Result:
        """What the function returns, or raises. TooLongError after so many seconds of work.

        StylizeError if the process ends meanwhile, as it does when there is no memory.
        """
        return self.call_later(seconds, lambda generation: (function, *values))

    def call_later(self, seconds: float, order: Callable[[int], tuple[Any, ...]]) -> Any:
        """`call` with function and values that may depend on `generation`, which is known when its turn has
        come."""
        with self._turn:
            pipe = self._begin()
            try:
                succeeded, result = self._exchange(pipe, seconds, order(self.generation))
            except (EOFError, OSError) as error:
                self._end()
                raise StylizeError(_CLOSED if self._closed else _ENDED) from error
            except BaseException:
                self._end()
                raise
        if succeeded:
            return result
        raise result

    def _exchange(self, pipe: Connection, seconds: float, order: tuple[Any, ...]) -> tuple[bool, Any]:
        """Send an order when the process is ready, and wait for the answer."""
        if not pipe.poll(_START):
            raise TooLongError("The process that paints does not start; start stylize ui again.")
        pipe.recv_bytes()
        pipe.send_bytes(pickle.dumps(order))
        if not pipe.poll(seconds):
            raise TooLongError(
                f"That took more than {seconds:g} seconds and was stopped; take a smaller picture."
            )
        return pickle.loads(pipe.recv_bytes())

    def close(self) -> None:
        """End the process, whatever it does, and start none again."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()

    def _begin(self) -> Connection:
        if self._closed:
            raise StylizeError(_CLOSED)
        if self._process is None or self._pipe is None or not self._process.is_alive():
            self._end()
            self.generation += 1
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._module), daemon=True)
            self._process.start()
            theirs.close()
        return self._pipe

    def _end(self) -> None:
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(5)


def _serve(pipe: Connection, module: str) -> None:
    """What the process does: one call after another, until nobody is left who could ask."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is for the process that asks, which ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    importlib.import_module(module)
    with suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(b"ready")
            function, *values = pickle.loads(pipe.recv_bytes())
            pipe.send_bytes(_answer(function, values))


def _answer(function: Callable[..., Any], values: list[Any]) -> bytes:
    """What a function returned or raised, pickled; what cannot be is told in a sentence."""
    try:
        return pickle.dumps((True, function(*values)))
    except BaseException as fault:
        for told in (fault, StylizeError(sentence_of(fault))):
            with suppress(Exception):
                packed = pickle.dumps((False, told))
                pickle.loads(packed)
                return packed
        raise
