"""The jobs of `stylize apply` on a Ray cluster: a pool of workers that each hold the network.

Only names and outcomes go through Ray: every worker reads its pictures from where they lie, paints them as
one machine would, and writes the results to where they belong. A worker that dies is replaced, and what it
had in hand is done again: a result is put whole, under its one name, so that a second try leaves no half
picture and no double.
"""

import math
import os
import socket
import traceback
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from stylize import __version__
from stylize.console import debugging
from stylize.errors import PictureError, StylizeError, UsageError
from stylize.jobs import Job
from stylize.looks import Look
from stylize.painting import Outcome, Painter, PaintSettings, Status, Tell, existing
from stylize.places import Place, place_of, written_at
from stylize.remote import Url, objects_in

_CALL = {"cpu": 16, "gpu": 128}
"""Most pictures that a worker gets at a time: few enough to lose, many enough that the reading of the first
and the writing of the last do not count."""

_SHARES = 4
"""So many calls at least for each worker, so that all end at about the same time."""

_TRIES = 2
"""How often a call is tried again after its worker has died, before its pictures are tried one by one."""

_THREADS = 2
"""Threads that read, and that write, in a worker without a GPU, which has one core."""

_PATIENCE = 5
"""Seconds to wait for a cluster's answer; Ray itself would wait for two minutes."""

_TAKEN_ALONG = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "FSSPEC_S3_ANON", "HF_TOKEN", "HF_ENDPOINT",
    "STYLIZE_MAX_MEGAPIXELS",
)  # fmt: skip
"""Variables of the one who asks that the workers get, too: how to reach stores, and what is too large."""

_DIED = "{} was tried {} times, and each time its worker died; paint it alone to see why (memory?)."


@dataclass(frozen=True)
class Order:
    """All that a worker must know to paint."""

    look: Look
    device: str
    dtype: str
    settings: PaintSettings
    version: str = __version__
    environment: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A painter in a process of the cluster. Ray Data makes it once and calls it with batches of jobs."""

    def __init__(self, order: Order) -> None:
        if order.version != __version__:
            raise StylizeError(f"stylize is {order.version} here and {__version__} on a worker.")
        os.environ.update(order.environment)
        self._painter = Painter(order.look, order.device, order.dtype, order.settings)

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the jobs of a batch, as columns of what `_row` writes; what became of each, as columns."""
        columns = [rows[name] for name in ("source", "target", "style", "variant", "found")]
        jobs = [
            Job(_place(source), _place(target), str(style), int(variant), bool(found))
            for source, target, style, variant, found in zip(*columns, strict=True)
        ]
        outcomes = list(self._painter.work(jobs))
        told = {name: [getattr(o, name) for o in outcomes] for name in ("status", "seconds", "note")}
        proofs = {name: [getattr(outcome, name) for outcome in outcomes] for name in ("before", "after")}
        return {"number": [int(number) for number in rows["number"]], **told, **proofs}


class Cluster:
    """Does jobs as `Painter` does, on all machines of a Ray cluster."""

    worker: type[Worker] = Worker
    """What its processes are made of."""

    def __init__(self, look: Look, device: str, dtype: str, settings: PaintSettings) -> None:
        self._order = Order(look, device, dtype, settings)

    @property
    def untold(self) -> Sequence[Outcome]:
        """Nothing is known of what the workers finish when the work is broken off."""
        return ()

    def work(
        self, jobs: Sequence[Job], tell: Tell = lambda job, done, total: None
    ) -> Generator[Outcome, None, None]:
        """Do the jobs, yielding their outcomes as they come. Raises StylizeError if there is no cluster.

        What is there already is looked up here, once. A call whose worker died again and again is taken
        apart, so that only the picture that kills it is lost.
        """
        _check_places(jobs)
        left: dict[int, Job] = {}
        for number, (job, told) in enumerate(zip(jobs, _decided(jobs, self._order), strict=True)):
            if told is None:
                left[number] = job
            else:
                yield told
        if not left:
            return
        with _connected() as ray:
            pool = _Pool.on(ray, self._order)
            for call in (pool.call_size(len(left)), 1):
                for number, outcome in pool.run(ray, self.worker, left, call):
                    del left[number]
                    yield outcome
                if not left:
                    return
        for job in left.values():
            yield Outcome(job, "failed", 0, _DIED.format(job.source, 2 * (_TRIES + 1)))


@dataclass(frozen=True)
class _Pool:
    """Workers with one GPU each, or else with one core each."""

    order: Order
    size: int
    on_gpu: bool

    @classmethod
    def on(cls, ray: Any, order: Order) -> "_Pool":
        """As many as the cluster has GPUs or cores, or as the settings want. UsageError without a GPU."""
        found, wanted = ray.cluster_resources(), order.device.split(":")[0]
        if wanted not in {"auto", "cpu", "cuda"}:
            raise UsageError(f"There is no device {order.device!r} on a cluster; use auto, cpu or cuda.")
        gpus = int(found.get("GPU", 0)) if wanted in {"auto", "cuda"} else 0
        if wanted == "cuda" and not gpus:
            raise UsageError("The cluster has no GPU; use --device cpu or auto.")
        threads = None if gpus else _THREADS
        settings = replace(order.settings, workers=threads, decided=True)
        environment = {name: os.environ[name] for name in _TAKEN_ALONG if name in os.environ}
        device = "cuda" if gpus else "cpu"
        size = order.settings.workers or gpus or int(found.get("CPU", 1))
        return cls(replace(order, device=device, settings=settings, environment=environment), size, gpus > 0)

    def call_size(self, pictures: int) -> int:
        """How many pictures a worker gets at a time."""
        most = _CALL["gpu" if self.on_gpu else "cpu"]
        return max(1, min(most, math.ceil(pictures / (self.size * _SHARES))))

    def run(
        self, ray: Any, worker: type[Worker], jobs: Mapping[int, Job], call: int
    ) -> Iterator[tuple[int, Outcome]]:
        """Give out the jobs in calls of a size; their outcomes, less those whose worker died."""
        jobs = dict(jobs)
        rows = [_row(number, job) for number, job in jobs.items()]
        calls = math.ceil(len(rows) / call)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there is no other way yet to bound the tries
            painted = ray.data.from_items(rows, override_num_blocks=calls).map_batches(
                worker, fn_constructor_args=(self.order,), batch_size=None, num_cpus=1,
                num_gpus=1 if self.on_gpu else None, max_restarts=-1, max_task_retries=_TRIES,
                compute=ray.data.ActorPoolStrategy(size=min(self.size, calls)),
            )  # fmt: skip
        for row in painted.iter_rows():
            number, status = int(row["number"]), _status(row["status"])
            proofs = row["before"] or b"", row["after"] or b""
            yield number, Outcome(jobs[number], status, float(row["seconds"]), str(row["note"]), *proofs)


def _status(text: str) -> Status:
    assert text in get_args(Status)
    return text  # pyright: ignore[reportReturnType]


def _row(number: int, job: Job) -> dict[str, object]:
    """A job as Ray Data carries it; names of files need not be text."""
    return {
        "number": number, "source": _bytes(job.source), "target": _bytes(job.target), "style": job.style,
        "variant": job.variant, "found": job.found,
    }  # fmt: skip


def _bytes(place: Place) -> bytes:
    """A URL, or a path from the root: a worker stands elsewhere."""
    return os.fsencode(str(place) if isinstance(place, Url) else os.path.abspath(place))


def _place(name: bytes) -> Place:
    return place_of(os.fsdecode(name))


def _check_places(jobs: Sequence[Job]) -> None:
    """Raises UsageError where workers would not see what this process sees."""
    for job in jobs:
        for place in (job.source, job.target):
            if isinstance(place, Url) and place.scheme == "memory":
                raise UsageError(f"{place} is in one process's memory; a cluster needs a store or a disk.")


def _decided(jobs: Sequence[Job], order: Order) -> Iterator[Outcome | None]:
    """What is to be said of each job without painting it; None where it is to be painted."""
    there = _results_there(jobs)
    for job in jobs:
        try:
            found = job.target in there if isinstance(job.target, Url) else written_at(job.target) is not None
            told = existing(job, order.settings, order.look.cards) if found else None
            yield None if told is None else Outcome(job, told[0], 0, told[1])
        except PictureError as error:
            yield Outcome(job, "failed", 0, str(error))


def _results_there(jobs: Sequence[Job]) -> set[Url]:
    """The objects in the folder, one in each bucket, that all results are going to."""
    folders: dict[tuple[str, ...], Url] = {}
    for target in (job.target for job in jobs):
        if isinstance(target, Url):
            known = folders.setdefault(target.parts[:2], target.parent)
            while not target.is_relative_to(known):
                folders[target.parts[:2]] = known = known.parent
    return {url for folder in folders.values() for url in objects_in(folder)}


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected to the cluster that RAY_ADDRESS names, to one on this machine, or to a new one here.

    Raises StylizeError if it is not installed, or cannot be reached.
    """
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ImportError as error:
        raise StylizeError("To paint on a cluster, run: pip install 'ray[data]<2.64'") from error
    address = os.environ.get("RAY_ADDRESS", "")
    _knock(address)
    try:
        _quieten(ray)
        with _silence():
            ray.init(log_to_driver=False, configure_logging=debugging())
    except (Exception, SystemExit) as error:
        raise StylizeError(_refusal(address or "on this machine", error)) from error
    try:
        yield ray
    except RayError as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise StylizeError(
            f"The work on the cluster broke off: {reason}; every machine needs this stylize and its extras. "
            "Add --skip-existing to go on."
        ) from error
    finally:
        ray.shutdown()


@contextmanager
def _silence() -> Iterator[None]:
    """What is not Python's greets on stderr when it starts; not while this lasts, unless one is debugging."""
    if debugging():
        yield
        return
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _refusal(address: str, error: BaseException) -> str:
    """What is said when Ray does not let us in."""
    if "AuthenticationError" in "".join(traceback.format_exception(error)):
        return f"The Ray cluster {address} wants its token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN."
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return f"The Ray cluster {address} cannot be used: {reason}; check RAY_ADDRESS."


def _knock(address: str) -> None:
    """Raises StylizeError if nobody answers at host:port; other forms of an address are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise StylizeError(
            f"There is no Ray cluster at {address} ({reason}); start one with ray start, or mend RAY_ADDRESS."
        ) from error


def _quieten(ray: Any) -> None:
    """Standard output is for data, and what goes wrong is said once, by us."""
    import logging

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a call whose worker died does not end the others
    if not debugging():
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        ray._private.worker._worker_logs_enabled = False  # notes on dead workers would go to stdout
