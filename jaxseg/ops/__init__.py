"""Operations on maps `(b, h, w, c)`: what networks compute with.

Each is defined in `textbook.py`. `table.py` has the other ways to compute it, and is
asked when a program is traced; `lowering` chooses for programs traced inside it.
"""

from jaxseg.ops.convolutions import (
    conv2d,
    conv2d_transpose,
    depthwise2d,
    prepared_kernel,
)
from jaxseg.ops.dispatch import (
    Lowering,
    default_lowering,
    deployed,
    deployed_lowering,
    lowering,
    named,
)
from jaxseg.ops.machine import bfloat16_pays, compiler_options
from jaxseg.ops.maps import PaddedMap, Parts, computed_once, concatenate, store
from jaxseg.ops.resize import adaptive_avg_pool, resize_bilinear, resize_labels
from jaxseg.ops.table import joins_pairs, map_dtype, splits_channels
from jaxseg.ops.textbook import (
    avg_pool3,
    max_pool2,
    max_pool3,
    mean_over_channels,
    mean_over_pixels,
    prelu,
    relu,
    relu6,
)
from jaxseg.ops.types import Map, Pair, as_array, hw_of

__all__ = ["conv2d", "conv2d_transpose", "depthwise2d", "prepared_kernel"]
__all__ += ["avg_pool3", "max_pool2", "max_pool3", "adaptive_avg_pool"]
__all__ += ["mean_over_channels", "mean_over_pixels", "relu", "relu6", "prelu"]
__all__ += ["resize_bilinear", "resize_labels"]
__all__ += ["Map", "PaddedMap", "Pair", "Parts", "computed_once", "concatenate"]
__all__ += ["store", "as_array", "hw_of", "joins_pairs", "map_dtype", "splits_channels"]
__all__ += ["Lowering", "default_lowering", "deployed", "deployed_lowering"]
__all__ += ["bfloat16_pays", "compiler_options", "lowering", "named"]
