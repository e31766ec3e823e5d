"""What a process sets up once before JAX runs: the allocator, the compilation cache.

The scripts call `setup`; importing this module changes nothing.
"""

import ctypes
import logging
import os
import platform
import re
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError

NO_TUNING = "JAXSEG_NO_MALLOC_TUNING"

# mallopt's parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def cache_dir() -> Path:
    """Where prepared data and compiled programs are kept.

    `JAXSEG_CACHE` if that environment variable is set, else `~/.cache/jaxseg`.
    """
    return Path(os.environ.get("JAXSEG_CACHE", "~/.cache/jaxseg")).expanduser()


def tune_allocator() -> bool:
    """Makes glibc keep freed memory, and says whether it did.

    XLA:CPU asks for its whole working memory at every call, and glibc fetches such
    large blocks anew from the kernel each time, zeroed page by page: a training step
    takes up to twice as long. The price is that the process stays as large as it once
    was. Does nothing outside Linux with glibc, or where the environment variable
    `JAXSEG_NO_MALLOC_TUNING` is set. Call it before JAX starts its backend.
    """
    if os.environ.get(NO_TUNING) or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, -1),
        (_M_TOP_PAD, 64 << 20),
        (_M_ARENA_MAX, 1),
    )
    return all([mallopt(parameter, value) for parameter, value in settings])


def setup() -> None:
    """Tunes the allocator and keeps compiled programs between runs."""
    tune_allocator()
    # JAX tells of every backend that it looked for and did not find.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    import jax

    config: Any = jax.config  # whose flags its stub does not have
    if config.jax_compilation_cache_dir is None:
        config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))


def join_processes(how: str) -> None:
    """Joins the processes that train together, by `jax.distributed`.

    Args:
        how: `auto`, where JAX detects the cluster (SLURM, Kubernetes, MPI, TPU pods),
            or `host:port,number,count`: where process 0 listens, which one this is, and
            how many there are.

    Raises:
        UserError: `how` is neither, or no cluster was detected.
    """
    import jax

    if how == "auto":
        try:
            jax.distributed.initialize()
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"--distributed=auto found no cluster ({error}); give "
                "--distributed=HOST:PORT,NUMBER,COUNT."
            ) from error
        return
    parts = re.fullmatch(r"(.+:\d+),(\d+),(\d+)", how)
    if not parts or int(parts[2]) >= int(parts[3]):
        raise UserError(
            f"--distributed={how}: give `auto` or HOST:PORT,NUMBER,COUNT with NUMBER "
            "from 0 to COUNT - 1."
        )
    jax.distributed.initialize(parts[1], int(parts[3]), int(parts[2]))
