"""The ways to compute each operation, and where each of them is used.

The first row whose lowering and operands fit computes an operation; without one its
definition does. `measured` names a section of results/cpu-profile.md, or says that no
record of a measurement is there and what the reason was. To add a way, write it beside
the others and give it a row here.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxseg.ops import gradients, maps, pooling, products, resize, sums, upsample
from jaxseg.ops import winograd as w
from jaxseg.ops.dispatch import Lowering, Row, current_lowering
from jaxseg.ops.maps import PaddedMap, Parts
from jaxseg.ops.types import Map


def _on_cpu(how: Lowering) -> bool:
    return how.platform == "cpu"


def _fast(how: Lowering) -> bool:
    return how.platform != "textbook"


def _in_sums(how: Lowering) -> bool:
    return how.sums


def _in_products(how: Lowering) -> bool:
    return how.dots


def _with_barriers(how: Lowering) -> bool:
    return how.barriers


# Choices that are no operation's.


def splits_channels() -> bool:
    """True if blocks keep groups of channels apart, as maps of their own.

    Measured: "LiteSeg-ShuffleNet", and FPENet in "What XLA:CPU computes anew".
    """
    return _on_cpu(current_lowering())


def joins_pairs() -> bool:
    """True if a depthwise 3x1 and the 1x3 behind it become one 3x3.

    No record: OpenVINO is faster so too, onnxruntime slower.
    """
    return current_lowering().join_pairs


def map_dtype(dtype: DTypeLike) -> DTypeLike:
    """The dtype of the maps of a network of `dtype`.

    Measured: "bfloat16 on B"; on a CPU only the operands of products are faster so.
    """
    on_cpu = current_lowering().platform in ("cpu", "textbook")
    return jnp.float32 if on_cpu else dtype


# Convolutions: operands are geometry, map, kernel, groups.


def _few_weights(shape: tuple[int, ...], dtype: jnp.dtype) -> bool:
    """True if XLA:CPU computes a convolution fastest as a sum with one term per weight.

    With few channels matrix products reach little of the processor's speed, in
    bfloat16 too. But everything that reads a sum computes it again: so not for a 1x1 to
    classes or to one weight per pixel, which are read in another order or for a mean.
    """
    kh, kw, ci, co = shape
    if (kh, kw) == (1, 1):
        enough_for_bfloat16 = ci > 16 and co > 32
        if co % 8 or (enough_for_bfloat16 and dtype == jnp.bfloat16):
            return False
    return kh * kw * ci <= 48


def _sum_fits(geometry, x, kernel, groups) -> bool:
    # A 1x1 map, a mean, would be computed anew for every pixel that it weights.
    several = groups == 1 and x.shape[1:3] != (1, 1)
    return several and _few_weights(kernel.shape, kernel.dtype)


def _is_pointwise(geometry, x, kernel, groups) -> bool:
    same_size = (geometry.stride, geometry.margin) == (1, (0, 0))
    return same_size and kernel.shape[:2] == (1, 1)


def _without_groups(geometry, x, kernel, groups) -> bool:
    return groups == 1


def _rounded(geometry, x, kernel, groups) -> bool:
    """XLA:CPU's own convolutions do not know bfloat16 operands."""
    kh, kw = kernel.shape[:2]
    return groups == 1 and kh * kw > 1 and kernel.dtype == jnp.bfloat16


def _stacked_fits(geometry, x, kernel, groups) -> bool:
    kh, kw, ci, co = kernel.shape
    if geometry.stride > 1:
        enough = ci >= 32
    else:
        enough = ci >= 64 and min(kh, kw) > 1 and co >= 128
    return enough and _rounded(geometry, x, kernel, groups)


def _product_a_tap_fits(geometry, x, kernel, groups) -> bool:
    enough = geometry.stride == 1 and kernel.shape[2] >= 64
    return enough and _rounded(geometry, x, kernel, groups)


def _is_stem(stride: int):
    def fits(geometry, x, kernel, groups):
        of_pixels = groups == 1 and kernel.shape[:3] == (3, 3, 3)
        return of_pixels and geometry == (stride, (1, 1), (1, 1))

    return fits


def _many_channels(geometry, x, kernel, groups) -> bool:
    return groups == 1 and kernel.shape[2] >= 16


ANEW = "What XLA:CPU computes anew"
NO_ZEROS = "no record: no zero that the definition inserts is multiplied"
COMMAND_BUFFERS = "no record: XLA:GPU leaves convolutions out of command buffers"

CONVOLUTION = (
    Row(sums.convolution, _in_sums, "Sums in place of products", _sum_fits),
    Row(
        products.pointwise,
        lambda how: how.dots or _on_cpu(how),
        "no record: a 1x1 convolution is a product of matrices",
        _is_pointwise,
    ),
    Row(products.product_a_tap, _in_products, COMMAND_BUFFERS, _without_groups),
    Row(products.stacked, _on_cpu, "bfloat16 on B", _stacked_fits),
    Row(products.product_a_tap, _on_cpu, "bfloat16 on B", _product_a_tap_fits),
    Row(products.stem, _on_cpu, "no record", _is_stem(1)),
    Row(products.stem_stride2, _on_cpu, "no record", _is_stem(2)),
    Row(gradients.convolution, _on_cpu, "A training step of ESNet", _many_channels),
)


# The least channels in and out from which fewer multiplications pay for the transforms.
_WINOGRAD_LEAST = {
    (3, 3): (128, 64),
    (3, 1): (128, 128),
    (1, 3): (128, 128),
    (5, 1): (64, 64),
    (1, 5): (64, 64),
}


def _fewer_multiplications(geometry, kernel, dtype) -> bool:
    least_ci, least_co = _WINOGRAD_LEAST.get(kernel.shape[:2], (np.inf, np.inf))
    enough = kernel.shape[2] >= least_ci and kernel.shape[3] >= least_co
    return enough and geometry.stride == 1 and dtype == jnp.float32


FORWARD_CONVOLUTION = (
    Row(
        w.convolution,
        _on_cpu,
        "Fewer multiplications",
        lambda geometry, x, kernel: _fewer_multiplications(
            geometry, kernel, kernel.dtype
        ),
    ),
)

CONSTANT_KERNEL = (
    Row(
        lambda geometry, kernel, dtype, groups: kernel.astype(np.float32),
        _in_sums,
        "bfloat16 on B",
        lambda geometry, kernel, dtype, groups: (
            groups == 1 and _few_weights(kernel.shape, dtype)
        ),
    ),
    Row(
        lambda geometry, kernel, dtype, groups: w.tiles_of(kernel, dtype),
        lambda how: _on_cpu(how) and not how.dots,
        "Fewer multiplications",
        lambda geometry, kernel, dtype, groups: (
            groups == 1 and _fewer_multiplications(geometry, kernel, dtype)
        ),
    ),
)

DEPTHWISE = (
    Row(sums.depthwise, _fast, ANEW, lambda geometry, x, kernel: _has_zeros(x)),
    Row(sums.depthwise, lambda how: how.dots and not _on_cpu(how), COMMAND_BUFFERS),
    Row(
        gradients.depthwise,
        _on_cpu,
        "no record: XLA:CPU's grouped convolution is a naive loop, 40 times slower",
    ),
)


def _has_zeros(x: Map) -> bool:
    return isinstance(x, PaddedMap)


TRANSPOSED = (
    Row(
        upsample.as_4x4,
        lambda how: how.even_kernels,
        "no record: the definition's margins are written to TFLite the wrong way round",
        lambda x, kernel, _: kernel.shape[0] == 3,
    ),
    Row(upsample.blocks, _fast, NO_ZEROS, lambda x, kernel, _: kernel.shape[0] == 2),
    Row(upsample.phased, _fast, NO_ZEROS, lambda x, kernel, _: _has_zeros(x)),
    Row(gradients.transposed, _fast, NO_ZEROS),
)

INTERLEAVE = (
    Row(
        upsample.interleave_by_addition,
        _on_cpu,
        "no record: with few channels adding is faster than moving",
        lambda phases: phases[0].shape[-1] < 64,
    ),
)

INTERPOLATE = (
    Row(
        resize.shifted,
        _on_cpu,
        "no record: XLA:CPU gathers pixel by pixel",
        resize.is_near_to_whole,
    ),
)

RESIZE_LABELS = (
    Row(
        resize.labels_by_phases,
        _fast,
        "no record: logits of the full size are never written",
        resize.labels_are_near_to_whole,
    ),
)

TABLE = {
    "convolution": CONVOLUTION,
    "forward_convolution": FORWARD_CONVOLUTION,
    "constant_kernel": CONSTANT_KERNEL,
    "depthwise": DEPTHWISE,
    "transposed": TRANSPOSED,
    "interleave": INTERLEAVE,
    "max_pool3": (Row(pooling.max_pool3, _on_cpu, "no record"),),
    "interpolate": INTERPOLATE,
    "resize_labels": RESIZE_LABELS,
    "in_memory": (Row(maps.computed_once, _with_barriers, ANEW),),
    "store": (Row(maps.stored_map, _with_barriers, ANEW),),
    "concatenate": (Row(Parts.of, lambda how: how.deployed and _on_cpu(how), ANEW),),
}
