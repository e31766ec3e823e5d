"""The choice of the arithmetic that computes an operation, made at trace time.

`textbook.py` and its neighbours define operations; `table.py` has, for each, the other
ways that were measured to be faster somewhere; `Lowering` says where "here" is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any

import jax

from jaxseg.ops.types import as_array


@dataclass(frozen=True)
class Lowering:
    """The platform and the purpose that operations are computed for.

    Attributes:
        platform: "cpu", "gpu" (or any other backend of JAX), or "textbook", which
            computes every operation by its definition.
        dots: compute every convolution, also depthwise ones, as matrix products and
            shifted sums. Otherwise only those that are faster so on a CPU.
        barriers: write a map that several operations read (`store`) to memory once.
        sums: compute a convolution with few weights per output as a sum with one term
            per weight. Not in training, where XLA:CPU would compute the sum again for
            everything that reads it, gradients included.
        deployed: the network is folded, and no gradient is taken of what is traced.
        join_pairs: fold a depthwise 3x1 and a 1x3 with nothing between them into one
            convolution, whose bias then depends on the column.
        even_kernels: write a transposed 3x3 as a 4x4 with zeros, for TFLite.
    """

    platform: str
    dots: bool = False
    barriers: bool = False
    sums: bool = False
    join_pairs: bool = True
    deployed: bool = False
    even_kernels: bool = False


_LOWERING: ContextVar[Lowering | None] = ContextVar("lowering", default=None)


def default_lowering() -> Lowering:
    """The lowering that operations use outside `lowering`."""
    platform = jax.default_backend()
    return Lowering(platform, barriers=platform == "cpu")


def deployed_lowering() -> Lowering:
    """The lowering that `Predictor` uses.

    On a GPU it has no convolution: XLA runs a program of products and element-wise
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


@contextmanager
def deployed() -> Iterator[None]:
    """Operations traced inside belong to a network that is folded."""
    with lowering(replace(current_lowering(), deployed=True)):
        yield


def current_lowering() -> Lowering:
    """The lowering that operations use here."""
    return _LOWERING.get() or default_lowering()


@dataclass(frozen=True)
class Row:
    """One way to compute an operation.

    Attributes:
        compute: takes what the operation takes, and returns the same values.
        under: the lowerings that it is for.
        measured: where it was found to be faster, or the reason that it is here.
        fits: the operands that it is for.
    """

    compute: Callable[..., Any]
    under: Callable[[Lowering], bool]
    measured: str
    fits: Callable[..., bool] = lambda *operands: True


@cache
def _table() -> dict[str, tuple[Row, ...]]:
    from jaxseg.ops.table import TABLE  # whose rows are made of operations themselves

    return TABLE


def operation(definition: Callable) -> Callable:
    """The operation that `definition` defines.

    A call is computed by the first row of the table that is for the lowering and the
    operands, and without such a row by the definition.
    """

    @wraps(definition)
    def call(*operands):
        how = current_lowering()
        for row in _table()[definition.__name__]:
            if row.under(how) and row.fits(*operands):
                return row.compute(*operands)
        return definition(*map(as_array, operands))

    return call


def named(name: str) -> Callable[[Callable], Callable]:
    """Wraps a function of arrays in a `jit` of that name, under the textbook lowering.

    It is then one equation of the jaxpr, which the ONNX exporter knows by its name
    (`jaxseg.deploy.onnx`). With other lowerings nothing changes.
    """

    def decorate(function):
        def called(*arrays):
            return function(*arrays)

        called.__name__ = name
        one_equation = jax.jit(called)

        @wraps(function)
        def call(*arrays):
            textbook = current_lowering().platform == "textbook"
            return (one_equation if textbook else function)(*map(as_array, arrays))

        return call

    return decorate
