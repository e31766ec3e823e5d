"""Operations on maps `(b, h, w, c)`: what networks compute with.

Each is defined in `textbook.py`. How it is computed here, `dispatch.py` decides when a
program is traced; `lowering` chooses for the programs traced inside.
"""

from jaxseg.ops.dispatch import (
    conv2d,
    conv2d_transpose,
    depthwise2d,
    max_pool3,
    prepared_kernel,
)
from jaxseg.ops.lowering import (
    Lowering,
    bfloat16_pays,
    cpu_info,
    current_lowering,
    default_lowering,
    deployed_lowering,
    lowering,
    named,
)
from jaxseg.ops.maps import (
    Carrier,
    Map,
    Parts,
    beside,
    carry,
    computed_once,
    core,
    splitting_pays,
)
from jaxseg.ops.resize import adaptive_avg_pool, resize_bilinear, resize_head
from jaxseg.ops.textbook import (
    avg_pool3,
    max_pool2,
    mean_over_channels,
    mean_over_pixels,
    prelu,
    relu,
    relu6,
)
from jaxseg.ops.types import Pair

__all__ = ["conv2d", "conv2d_transpose", "depthwise2d", "prepared_kernel"]
__all__ += ["avg_pool3", "max_pool2", "max_pool3", "adaptive_avg_pool"]
__all__ += ["mean_over_channels", "mean_over_pixels", "relu", "relu6", "prelu"]
__all__ += ["resize_bilinear", "resize_head"]
__all__ += ["Carrier", "Map", "Pair", "Parts", "beside", "carry", "computed_once"]
__all__ += ["core", "splitting_pays"]
__all__ += ["Lowering", "current_lowering", "default_lowering", "deployed_lowering"]
__all__ += ["bfloat16_pays", "cpu_info", "lowering", "named"]
