"""Which arithmetic the operations are lowered to, at trace time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, wraps
from pathlib import Path

import jax


@dataclass(frozen=True)
class Lowering:
    """Which arithmetic the operations are lowered to.

    Attributes:
        platform: "cpu", "gpu" (or any other backend of JAX), or "textbook", one `lax`
            call an operation.
        dots: compute every convolution, depthwise ones too, as matrix products and
            shifted sums. Without it only those for which it pays on a CPU.
        barriers: have a map that several consumers read (`carry`) written to memory
            once.
        sums: compute a convolution with few weights an output as a sum with a term a
            weight. In training XLA:CPU computes the sum anew for everything that reads
            it, its gradients too.
        join_pairs: fold a depthwise 3x1 and 1x3 with nothing between them into one
            pass, at the price of a bias that depends on the column.
    """

    platform: str
    dots: bool = False
    barriers: bool = False
    sums: bool = False
    join_pairs: bool = True


_LOWERING: ContextVar[Lowering | None] = ContextVar("lowering", default=None)


def default_lowering() -> Lowering:
    """What operations use outside `lowering`."""
    platform = jax.default_backend()
    return Lowering(platform, barriers=platform == "cpu")


def deployed_lowering() -> Lowering:
    """What `Predictor` uses.

    On a GPU without any convolution: XLA runs a program of products and element-wise
    kernels as one command buffer, and by default leaves convolutions out of it (its
    sources; not measured yet).
    """
    how = default_lowering()
    if how.platform == "cpu":
        return replace(how, sums=True)
    return replace(how, dots=True)


@contextmanager
def lowering(chosen: Lowering) -> Iterator[None]:
    """Operations traced inside this context use `chosen`."""
    token = _LOWERING.set(chosen)
    try:
        yield
    finally:
        _LOWERING.reset(token)


def current_lowering() -> Lowering:
    """What operations use here."""
    return _LOWERING.get() or default_lowering()


@cache
def bfloat16_pays() -> bool:
    """Whether matrix products read bfloat16 faster than float32.

    A CPU without instructions for them converts first and is slower.
    """
    if jax.default_backend() != "cpu":
        return True
    return "avx512_bf16" in cpu_info() or "amx_bf16" in cpu_info()


@cache
def cpu_info() -> str:
    """What Linux says of the processors; elsewhere nothing."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def named(name: str) -> Callable[[Callable], Callable]:
    """Makes a function of arrays one equation, `jit[name=...]`, of a textbook jaxpr.

    Who translates the jaxpr can tell by the name what the equations inside stand for:
    see `jaxseg.inference.onnx`. With other lowerings nothing changes.
    """

    def decorate(function):
        def called(*arrays):
            return function(*arrays)

        called.__name__ = name
        one_equation = jax.jit(called)

        @wraps(function)
        def call(*arrays):
            textbook = current_lowering().platform == "textbook"
            return (one_equation if textbook else function)(*arrays)

        return call

    return decorate
