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


@contextmanager
def joined() -> Iterator[None]:
    """Take part in the group of processes that torchrun has announced, if it has."""
    if "RANK" not in os.environ or count() > 1:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


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
        dist.barrier()
    yield
    if rank() == 0 and count() > 1:
        dist.barrier()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if count() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = flat.div_(count()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """The mean of each value over the processes, which all have the same names."""
    if count() == 1 or not values:
        return values
    together = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
    dist.all_reduce(together)
    return dict(zip(values, (together / count()).tolist(), strict=True))


def any_of(wish: bool, device: torch.device) -> bool:
    """Does any process want this? All get the same answer, so that all stop at the same step."""
    if count() == 1:
        return wish
    votes: Tensor = torch.tensor(float(wish), device=device)
    dist.all_reduce(votes)
    return votes.item() > 0
