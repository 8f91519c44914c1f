"""Several processes that train one network, as torchrun starts them; alone, all of this does nothing.

Every process draws its own part of each global batch and the gradients are averaged, so the weights stay
equal everywhere (synchronous data parallelism, as in Li et al., 2020, arXiv:2006.15704). The networks are
small and run several times in a step, so the gradients are averaged once, after them all, and not while
they come, as DistributedDataParallel does.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stylize.errors import StylizeError, UsageError


@contextmanager
def joined() -> Iterator[None]:
    """Take part in the group of processes that torchrun has announced, if it has."""
    if "RANK" not in os.environ or count() > 1:
        yield
        return
    _check_launcher()
    with _together():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _check_launcher() -> None:
    """Raises UsageError where processes that are started again would wait for the ones before them.

    torchrun keeps one store of addresses for all its attempts, and those of the dead are in it.
    """
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UsageError(
            "With --max-restarts, start torchrun with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 set before it."
        )


@contextmanager
def _together() -> Iterator[None]:
    """Around all that processes do together. StylizeError if one of them is gone, or never came."""
    try:
        yield
    except RuntimeError as error:  # that is what gloo and NCCL raise
        raise StylizeError(
            "Another process of this run is gone; start them all again, as torchrun does by itself with "
            "--max-restarts: the run goes on from its last checkpoint."
        ) from error


def rank() -> int:
    """The number of this process, from 0; process 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process, where `device` is a GPU and there are several processes."""
    if device.type != "cuda" or count() == 1:
        return device
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(own)
    return own


@contextmanager
def first_alone() -> Iterator[None]:
    """Process 0 goes through the block before all others do: it fills the caches for them."""
    if rank() > 0:
        _wait_for_all()
    yield
    if rank() == 0 and count() > 1:
        _wait_for_all()


def _wait_for_all() -> None:
    with _together():
        dist.barrier()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if count() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    _sum(flat)
    parts = flat.div_(count()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """The mean of each value over the processes, which all have the same names."""
    if count() == 1 or not values:
        return values
    together = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
    _sum(together)
    return dict(zip(values, (together / count()).tolist(), strict=True))


def any_of(wish: bool, device: torch.device) -> bool:
    """Does any process want this? All get the same answer, so that all stop at the same step."""
    if count() == 1:
        return wish
    votes: Tensor = torch.tensor(float(wish), device=device)
    _sum(votes)
    return votes.item() > 0


def of_first(number: int, device: torch.device) -> int:
    """The number that process 0 has."""
    if count() == 1:
        return number
    told = torch.tensor(number, device=device)
    with _together():
        dist.broadcast(told, 0)
    return int(told)


def _sum(values: Tensor) -> None:
    """Replace values by their sum over the processes."""
    with _together():
        dist.all_reduce(values)
