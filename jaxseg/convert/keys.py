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


def dabnet() -> dict[str, str]:
    modules = {"head": "classifier.0.conv"}

    def norm(ours: str, theirs: str) -> None:
        modules[f"{ours}/norm"] = f"{theirs}.bn"
        modules[f"{ours}/prelu"] = f"{theirs}.acti"

    def unit(ours: str, theirs: str, conv: str = "conv") -> None:
        modules[f"{ours}/{conv}"] = f"{theirs}.conv"
        norm(ours, f"{theirs}.bn_prelu")

    for i in range(3):
        unit(f"stem{i}", f"init_conv.{i}")
        norm(f"norm{i + 1}", f"bn_prelu_{i + 1}")
    for i in (1, 2):
        modules[f"down{i}/conv"] = f"downsample_{i}.conv3x3.conv"
        norm(f"down{i}", f"downsample_{i}.bn_prelu")
    for block, count in ((1, 3), (2, 6)):
        for i in range(count):
            ours, theirs = (
                f"dab{block}_{i}",
                f"DAB_Block_{block}.DAB_Module_{block}_{i}",
            )
            norm(f"{ours}/norm_in", f"{theirs}.bn_relu_1")
            unit(f"{ours}/squeeze", f"{theirs}.conv3x3")
            for pair, d in (("plain", "d"), ("dilated", "dd")):
                unit(f"{ours}/{pair}/tall", f"{theirs}.{d}conv3x1", "depthwise")
                unit(f"{ours}/{pair}/wide", f"{theirs}.{d}conv1x3", "depthwise")
            norm(f"{ours}/norm_sum", f"{theirs}.bn_relu_2")
            modules[f"{ours}/expand"] = f"{theirs}.conv1x1.conv"
    return modules


MODULES: dict[str, Callable[[], dict[str, str]]] = {
    "dabnet": dabnet,
    "esnet": esnet,
    "fddwnet": fddwnet,
}
