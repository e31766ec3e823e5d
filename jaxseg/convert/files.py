"""Weight files of others -> state dicts of NumPy arrays, without PyTorch.

A `.pth` file is a pickle, and a pickle can run any program. The reader here knows the
few names that a state dict is made of and refuses every other one.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxseg.errors import UserError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # before PyTorch 1.6: pickles in a row

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a `.pth` or `.pt` file by name, in the file's order.

    A checkpoint that holds its state dict under `state_dict`, `model` or the like is
    looked into, and a prefix `module.` that all names share is taken off.

    Raises:
        UserError: it cannot be read, or holds something else than arrays.
    """
    path = Path(path)
    try:
        if zipfile.is_zipfile(path):
            content = _read_zip(path)
        else:
            # In memory: of a file on disk a damaged length would be made room for.
            content = _read_legacy(io.BytesIO(path.read_bytes()))
    except Exception as error:  # of damaged ones pickle raises many kinds
        raise UserError(
            f"{path} cannot be read as PyTorch weights ({error})."
        ) from error
    for key in ("state_dict", "model", "model_state_dict", "net"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    arrays = {}
    if isinstance(content, dict):
        arrays = {k: v for k, v in content.items() if isinstance(v, np.ndarray)}
    if not arrays:
        raise UserError(f"{path} holds no state dict (a mapping of names to arrays).")
    return _without_prefix(arrays)


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """As `read_state_dict`, of a `.safetensors` file.

    Raises:
        UserError: it cannot be read.
    """
    from safetensors.numpy import load

    try:
        arrays = load(Path(path).read_bytes())
    except Exception as error:  # of its own kind for a damaged file, not an OSError
        raise UserError(f"{path} cannot be read as safetensors ({error}).") from error
    if not arrays:
        raise UserError(f"{path} holds no arrays.")
    return _without_prefix(arrays)


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names without the `module.` that PyTorch's DataParallel puts before all."""
    if not all(name.startswith("module.") for name in arrays):
        return arrays
    return {name.removeprefix("module."): v for name, v in arrays.items()}


def read_darknet(path: str | Path, shapes: Sequence[tuple[int, ...]]) -> list[dict]:
    """Convolutions with batch norm from a Darknet `.weights` file, in its order.

    Args:
        shapes: `(out, in, kh, kw)` of each; what follows in the file is not read.

    Returns:
        For each `bias`, `weight` (of the norm), `running_mean`, `running_var`, `kernel`
        `(out, in, kh, kw)`; float32.

    Raises:
        UserError: the file cannot be read or is too short.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    major, minor = np.frombuffer(data[:8].ljust(8, b"\0"), "<i4")
    # Three int32 of version, then how many images were seen: int64 since version 0.2.
    position = 12 + (8 if major * 10 + minor >= 2 else 4)
    values = np.frombuffer(
        data[position : len(data) - (len(data) - position) % 4], "<f4"
    )
    needed = sum(math.prod(shape) + 4 * shape[0] for shape in shapes)
    if len(values) < needed:
        raise UserError(
            f"{path} holds {len(values)} numbers, {needed} are needed: it is cut off "
            "or of another network."
        )
    layers, at = [], 0
    for shape in shapes:
        layer = {}
        for name in ("bias", "weight", "running_mean", "running_var"):
            layer[name] = values[at : at + shape[0]]
            at += shape[0]
        layer["kernel"] = values[at : at + math.prod(shape)].reshape(shape)
        at += math.prod(shape)
        layers.append(layer)
    return layers


@dataclass
class _Storage:
    dtype: np.dtype
    numbers: Any = None  # an array, once they are read


@dataclass
class _View:
    """A tensor before its storage has been read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = self.storage.numbers[self.offset :]
        if math.prod(self.shape) > len(numbers):
            raise ValueError("a tensor is larger than its storage")
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        if 0 not in self.shape and (
            last >= len(numbers) or min(self.strides, default=0) < 0
        ):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [s * numbers.itemsize for s in self.strides]
        return np.lib.stride_tricks.as_strided(numbers, self.shape, strides).copy()


def _rebuild_tensor(storage, offset, shape, strides, *_: Any) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: _View, *_: Any) -> _View:
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle._Unpickler):
    # The one in Python: in C a damaged number of a memo's entry is made room for.

    def __init__(self, file: Any, load: Callable[[tuple], _Storage]) -> None:
        super().__init__(file)
        self._load = load

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is no part of a state dict; save "
                "model.state_dict() alone"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, reference: tuple) -> _Storage:
        return self._load(reference)


def _read_zip(path: Path) -> Any:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:

        def member(name: str) -> bytes:
            if archive.getinfo(name).file_size > size:
                raise ValueError("it is compressed, which torch.save's files are not")
            return archive.read(name)

        (pickled,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        folder = pickled.removesuffix("data.pkl")

        def load(reference: tuple) -> _Storage:
            _, dtype, key, *_ = reference
            return _Storage(dtype, np.frombuffer(member(f"{folder}data/{key}"), dtype))

        content = _Unpickler(io.BytesIO(member(pickled)), load).load()
        return _with_arrays(content)


def _read_legacy(file: Any) -> Any:
    storages: dict[str, _Storage] = {}

    def load(reference: tuple) -> _Storage:
        _, dtype, key, *_ = reference
        return storages.setdefault(key, _Storage(dtype))

    def unpickled() -> Any:
        return _Unpickler(file, load).load()

    if unpickled() != _LEGACY_MAGIC:
        raise ValueError("it is no file that torch.save wrote")
    unpickled(), unpickled()  # protocol, byte sizes
    content = unpickled()
    for key in unpickled():
        (count,) = np.frombuffer(file.read(8), "<i8")
        dtype = storages[key].dtype
        storages[key].numbers = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return _with_arrays(content)


def _with_arrays(content: Any) -> Any:
    if isinstance(content, _View):
        return content.array()
    if isinstance(content, dict):
        return {key: _with_arrays(value) for key, value in content.items()}
    return content
