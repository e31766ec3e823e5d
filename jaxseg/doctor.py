"""Looks this machine over: python -m jaxseg.doctor

Prints versions, devices, what is installed and which extra brings the rest, room in the
cache, and whether a network gives on the device what it gives as it was trained. The
exit code is 1 where something is wrong.
"""

import platform
import re
import shutil
import sys
from importlib import metadata
from typing import Any

import numpy as np

from jaxseg import runtime

# Folding rounds otherwise, so that here and there a pixel between two classes moves.
_EQUAL_LEAST = 0.999
_ROOM_GIB = 5  # Cityscapes' training split takes more, the other data sets less


def main() -> None:
    runtime.setup()
    wrong = [*_versions(), *_room(), *_judged(_network())]
    for sentence in wrong:
        print(f"wrong: {sentence}")
    if not wrong:
        print("Nothing is wrong.")
    sys.exit(bool(wrong))


def _versions() -> list[str]:
    print(f"Python {platform.python_version()}, {platform.platform()}")
    try:
        requirements = metadata.requires("jaxseg") or []
    except metadata.PackageNotFoundError:
        return ["jaxseg is not installed: pip install . in its folder."]
    missing: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.setdefault(extra[1] if extra else "", []).append(name)
        else:
            if not extra:
                print(f"  {name} {version}")
    wrong = [f"{name} is not installed." for name in missing.pop("", [])]
    for bringing, names in missing.items():
        print(f"  not here: {', '.join(names)} (pip install '.[{bringing}]')")
    return wrong


def _room() -> list[str]:
    folder = runtime.cache_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    print(f"Cache: {folder}, {free:.1f} GiB free")
    if free >= _ROOM_GIB:
        return []
    return [
        f"{there} has {free:.1f} GiB left; prepared data may take {_ROOM_GIB} and "
        "more: free some, or set JAXSEG_CACHE to another folder."
    ]


def _network() -> float:
    """The share of labels that are those of the network as it was trained."""
    import jax

    from jaxseg import models
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.deploy.predictor import Predictor

    for device in jax.devices():
        print(f"Device: {device.platform} {device.device_kind}")
    model = models.create("fpenet", num_classes=19, p=1, q=1)  # compiles quickly
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    preprocess = Preprocess()

    @jax.jit
    def as_trained(x):
        variables = model.init(jax.random.key(0), x, train=False)
        logits: Any = model.apply(variables, x, train=False)
        return variables, logits.argmax(-1)

    variables, expected = as_trained(preprocess(jax.numpy.asarray(picture[None])))
    labels = Predictor(model, variables, preprocess)(picture)
    return float(np.mean(np.asarray(labels) == np.asarray(expected)[0]))


def _judged(equal: float) -> list[str]:
    print(f"FPENet on it: {equal:.2%} of the labels equal those of the trained form")
    if equal >= _EQUAL_LEAST:
        return []
    return [f"only {equal:.2%} of the labels are what they should be on this device."]


if __name__ == "__main__":
    main()
