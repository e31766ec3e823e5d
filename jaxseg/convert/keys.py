"""Our module paths -> the modules of the authors' PyTorch code, one table a network.

Written from the names in the authors' state dicts; `torch.py` says which array of a
module is which.
"""

from collections.abc import Callable


def esnet() -> dict[str, str]:
    modules = {"deconv": "decoder.output_conv"}

    def resampler(ours: str, theirs: str, conv: str) -> None:
        modules[f"{ours}/{conv}"] = f"{theirs}.conv"
        modules[f"{ours}/norm"] = f"{theirs}.bn"

    def fcu(ours: str, theirs: str) -> None:
        for i in (1, 2):
            modules[f"{ours}/tall{i}/conv"] = f"{theirs}.conv3x1_{i}"
            modules[f"{ours}/wide{i}/conv"] = f"{theirs}.conv1x3_{i}"
            modules[f"{ours}/wide{i}/norm"] = f"{theirs}.bn{i}"

    def pfcu(ours: str, theirs: str) -> None:
        modules[f"{ours}/tall/conv"] = f"{theirs}.conv3x1_1"
        modules[f"{ours}/wide/conv"] = f"{theirs}.conv1x3_1"
        modules[f"{ours}/wide/norm"] = f"{theirs}.bn1"
        modules[f"{ours}/norm"] = f"{theirs}.bn2"
        for d in (2, 5, 9):
            modules[f"{ours}/tall_d{d}/conv"] = f"{theirs}.conv3x1_2{d}"
            modules[f"{ours}/wide_d{d}/conv"] = f"{theirs}.conv1x3_2{d}"

    resampler("down1", "encoder.initial_block", "conv")
    for i in range(3):
        fcu(f"fcu1_{i}", f"encoder.layers.{i}")
    resampler("down2", "encoder.layers.3", "conv")
    for i in range(2):
        fcu(f"fcu2_{i}", f"encoder.layers.{4 + i}")
    resampler("down3", "encoder.layers.6", "conv")
    for i in range(3):
        pfcu(f"pfcu3_{i}", f"encoder.layers.{7 + i}")
    for stage, first in ((4, 0), (5, 3)):
        resampler(f"up{stage}", f"decoder.layers.{first}", "deconv")
        for i in range(2):
            fcu(f"fcu{stage}_{i}", f"decoder.layers.{first + 1 + i}")
    return modules


def fddwnet() -> dict[str, str]:
    modules = {"deconv": "output_conv"}

    def eerm(ours: str, theirs: str) -> None:
        for i in (1, 2):
            for part, name in (("tall", f"conv{i}_1"), ("wide", f"conv{i}_2")):
                modules[f"{ours}/pair{i}/{part}/depthwise"] = f"{theirs}.{name}"
                modules[f"{ours}/pair{i}/{part}/norm"] = f"{theirs}.{name}_bn"
            modules[f"{ours}/mix{i}/conv"] = f"{theirs}.conv{i}"
            modules[f"{ours}/mix{i}/norm"] = f"{theirs}.conv{i}_bn"

    resamplers = {
        **{f"down{i}": (f"down_{i}", "conv") for i in (1, 2, 3)},
        **{"up4": ("up_1", "deconv"), "up5": ("up_2", "deconv")},
        "skip5_up": ("up_0", "deconv"),
    }
    for ours, (theirs, conv) in resamplers.items():
        modules[f"{ours}/{conv}"] = f"{theirs}.conv"
        modules[f"{ours}/norm"] = f"{theirs}.bn"
    for i in range(5):
        eerm(f"eerm2_{i}", f"FDDWC_{i + 1}")
    deep = [
        f"{n}{s}"
        for first in (6, 10)
        for s in ("", "_1")
        for n in range(first, first + 4)
    ]
    for i, number in enumerate(deep):
        eerm(f"eerm3_{i}", f"FDDWC_{number}")
    for i in range(2):
        eerm(f"eerm4_{i}", f"FDDWC_up_{i + 1}")
        eerm(f"eerm5_{i}", f"FDDWC_up_{i + 3}")
    eerm("skip4", "FDDWC_up_low_2")
    eerm("skip5", "FDDWC_up_low_3")
    return modules


MODULES: dict[str, Callable[[], dict[str, str]]] = {
    "esnet": esnet,
    "fddwnet": fddwnet,
}
