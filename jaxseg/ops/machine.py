"""Facts about the processor, and the options that XLA gets because of them."""

from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


@cache
def cpu_info() -> str:
    """Linux's description of the processors; empty on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


@cache
def bfloat16_pays() -> bool:
    """True if matrix products read bfloat16 faster than float32.

    A CPU without instructions for them converts first and is slower.
    """
    if jax.default_backend() != "cpu":
        return True
    return "avx512_bf16" in cpu_info() or "amx_bf16" in cpu_info()


def compiler_options(dtype: DTypeLike) -> dict[str, Any]:
    """The options with which XLA compiles a deployed network of `dtype`."""
    if jax.default_backend() != "cpu":
        return {}
    # 256 by default; 512 was 3 to 8 % faster with AVX-512.
    options: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512}
    # YNNPACK's products of bfloat16 use its instructions. In float32 networks took up
    # to 22 % less without it on two Intel Xeons; on an AMD Zen 5 its products were
    # twice as fast as PyTorch's. See results/cpu-profile.md, "YNNPACK or Eigen".
    rounded = jnp.dtype(dtype) == jnp.bfloat16
    if not (bfloat16_pays() and (rounded or "AuthenticAMD" in cpu_info())):
        options["xla_cpu_experimental_ynn_fusion_type"] = ""
    return options
