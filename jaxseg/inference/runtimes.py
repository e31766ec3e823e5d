"""Label maps by other runtimes than XLA, and which is the fastest here."""

import math
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from flax import linen as nn

from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.engines import Engine, onnxruntime_engine, openvino_engine
from jaxseg.deploy.onnx import export_onnx
from jaxseg.deploy.predictor import Predictor, call_padded
from jaxseg.models.sizes import SIZE_MULTIPLE, size_multiple

_ENGINES: dict[str, Callable[[bytes], Engine]] = {
    "onnxruntime": onnxruntime_engine,
    "openvino": openvino_engine,
}
RUNTIMES = ("xla", *_ENGINES)
AUTO = "auto"
_CALLS, _KEPT = 5, 8


class ByEngine:
    """`Predictor` for labels, computed from the ONNX graph by another runtime.

    Args:
        name: one of `RUNTIMES` but the first.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        variables: Any,
        preprocess: Preprocess,
        size_step: int = SIZE_MULTIPLE,
    ) -> None:
        self._engine, self._join = _ENGINES[name], name == "openvino"
        self._network = model, variables, preprocess
        self._size_step = math.lcm(size_step, size_multiple(model))
        self._program = lru_cache(_KEPT)(self._open)

    def _open(self, b: int, h: int, w: int) -> Engine:
        graph = export_onnx(*self._network, (h, w), join_pairs=self._join, batch=b)
        return self._engine(graph.SerializeToString())

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 `(h, w)` of uint8 `(h, w, 3)`, or both with a batch in front."""
        preprocess = self._network[2]
        image = np.asarray(image)
        return call_padded(self._program, preprocess, self._size_step, image)


def installed() -> list[str]:
    """The runtimes that there are here."""
    there = [name for name in _ENGINES if find_spec(name) and find_spec("onnx")]
    return ["xla", *there]


def predictor_of(name: str, *network: Any, size_step: int) -> Callable:
    """`Predictor` or `ByEngine`; `network` is model, variables and preprocess."""
    model, variables, preprocess = network
    if name == "xla":
        return Predictor(model, variables, preprocess, size_step=size_step)
    return ByEngine(name, model, variables, preprocess, size_step=size_step)


def fastest(
    image: np.ndarray, *network: Any, size_step: int
) -> tuple[Callable, dict[str, float]]:
    """The predictor that takes the least time for `image`; and the ms of all.

    Each is called once to compile, and then a few times in turn with the others. Its
    shortest call counts, as the one that other programs disturbed least.
    """
    found = {
        name: predictor_of(name, *network, size_step=size_step) for name in installed()
    }
    if len(found) == 1:
        return found["xla"], {}
    took = dict.fromkeys(found, np.inf)
    for call in range(_CALLS + 1):
        for name, predict in found.items():
            begin = time.perf_counter()
            np.asarray(predict(image))
            if call:  # the first compiles
                took[name] = min(took[name], 1e3 * (time.perf_counter() - begin))
    best = min(took, key=took.__getitem__)
    return found[best], took
