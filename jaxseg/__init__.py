"""Real-time semantic segmentation networks in JAX/Flax.

`jaxseg.load("runs/dabnet")` segments pictures with a trained network;
`jaxseg.models` has the networks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from jaxseg.inference.segmenter import Segmenter

__version__ = "0.1.0"


def load(
    ckpt: "str | os.PathLike",
    step: str | int = "best",
    size_step: int = 8,
    runtime: str = "xla",
) -> "Segmenter":
    """A `jaxseg.inference.segmenter.Segmenter` of a trained network.

    Args:
        ckpt: a run's folder, a name such as "liteseg_mobilenet-camvid", or an export.
        step: "best" by validation, "last", or a number.
        size_step: pictures are padded to multiples of it, a multiple of 8, and of the
            network's stride.
        runtime: "xla", "onnxruntime", "openvino", or "auto" for the fastest here.

    Raises:
        jaxseg.errors.UserError: there is no such run, or it cannot be read.
    """
    # Not above: importing jaxseg takes no time, and nothing of JAX.
    from jaxseg.inference.segmenter import Segmenter

    return Segmenter(ckpt, step, size_step, runtime)
