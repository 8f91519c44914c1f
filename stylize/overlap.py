"""Doing things side by side in bounded memory: threads that read ahead, and ones that write behind."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import ParamSpec, TypeVar

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class _InThisThread(Executor):
    """Runs everything at once, in the thread that asks."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        future: Future[R] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def usual_workers() -> int:
    """As many threads as there are cores, up to eight: more would only hold more pictures."""
    return min(8, os.cpu_count() or 1)


@contextmanager
def workers(count: int) -> Iterator[Executor]:
    """`count` threads; none means this one. On leaving, what has begun is finished and the rest dropped."""
    pool = ThreadPoolExecutor(count) if count else _InThisThread()
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """function(item) for every item in order, up to `count` of them computed before they are asked for."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def groups_of(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
