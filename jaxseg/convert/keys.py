"""Our module paths -> the modules of the authors' PyTorch code, one table a network.

Written from the names in the authors' state dicts; `torch.py` says which array of a
module is which.
"""

from collections.abc import Callable
from functools import partial


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


def fpenet() -> dict[str, str]:
    """Names of our own: no authors' code exists."""
    modules = {"stem/conv": "stem", "stem/norm": "stem_bn", "classifier": "final"}

    def unit(ours: str, theirs: str) -> None:
        modules[f"{ours}/conv"] = theirs
        modules[f"{ours}/norm"] = f"{theirs}_bn"

    for stage, blocks, branches in ((1, 1, 1), (2, 3, 4), (3, 9, 4)):
        for i in range(blocks):
            ours, theirs = f"fpe{stage}_{i}", f"stage{stage}.{i}"
            for step in ("expand", "project"):
                unit(f"{ours}/{step}", f"{theirs}.{step}")
            for k in range(branches):
                modules[f"{ours}/branch{k}/depthwise"] = f"{theirs}.branch.{k}"
                modules[f"{ours}/branch{k}/norm"] = f"{theirs}.branch_bn.{k}"
    for stage in (2, 1):
        for step in ("high", "low", "channel", "spatial"):
            modules[f"meu{stage}/{step}"] = f"decoder{stage}.{step}"
    return modules


def _mobilenet() -> dict[str, str]:
    modules = {}
    for ours, number in (("stem", 0), ("head", 18)):
        modules[f"{ours}/conv"] = f"mobile_features.features.{number}.0"
        modules[f"{ours}/norm"] = f"mobile_features.features.{number}.1"
    for number in range(1, 18):
        theirs = f"mobile_features.features.{number}.conv"
        steps = ["expand/conv", "depthwise/depthwise", "project/conv"]
        # Convolution, norm and activation are numbered through; block 1 expands not.
        for i, step in enumerate(steps[1:] if number == 1 else steps):
            unit = step.split("/")[0]
            modules[f"block{number}/{step}"] = f"{theirs}.{3 * i}"
            modules[f"block{number}/{unit}/norm"] = f"{theirs}.{3 * i + 1}"
    return modules


def _shufflenet() -> dict[str, str]:
    modules = {"stem": "shuffle_features.module.conv1"}
    for stage, units in ((2, 4), (3, 8), (4, 4)):
        for i in range(units):
            ours = f"unit{stage}_{i}"
            theirs = (
                f"shuffle_features.module.stage{stage}.ShuffleUnit_Stage{stage}_{i}"
            )
            for step in ("compress", "expand"):
                modules[f"{ours}/{step}/conv"] = f"{theirs}.g_conv_1x1_{step}.conv1x1"
                modules[f"{ours}/{step}/norm"] = (
                    f"{theirs}.g_conv_1x1_{step}.batch_norm"
                )
            modules[f"{ours}/depthwise/depthwise"] = f"{theirs}.depthwise_conv3x3"
            modules[f"{ours}/depthwise/norm"] = f"{theirs}.bn_after_depthwise"
    return modules


def _darknet() -> dict[str, str]:
    modules = {}
    for number in (1, 3, 5, 6, 7, 9, 10, 11, *range(13, 18), *range(19, 24)):
        theirs = f"resnet_features.layers.{number}_convbatch.layers"
        modules[f"layer{number}/conv"] = f"{theirs}.0"
        modules[f"layer{number}/norm"] = f"{theirs}.1"
    return modules


def liteseg(backbone: Callable[[], dict[str, str]]) -> dict[str, str]:
    modules = {f"backbone/{ours}": theirs for ours, theirs in backbone().items()}
    modules["classifier"] = "last_conv.6"
    modules["daspp/pool/conv"] = "global_avg_pool.1"
    modules["daspp/pool/norm"] = "global_avg_pool.2"

    def separable(ours: str, theirs: str, norm: str) -> None:
        modules[f"{ours}/depthwise"] = f"{theirs}.conv1"
        modules[f"{ours}/mix/conv"] = f"{theirs}.pointwise"
        modules[f"{ours}/mix/norm"] = norm

    for i, rate in enumerate((1, 3, 6, 9), start=1):
        separable(f"daspp/branch{rate}", f"aspp{i}.atrous_convolution", f"aspp{i}.bn")
        separable(f"daspp/refine{rate}", f"aspp{i}.conv1", f"aspp{i}.bn1")
    separable("reduce", "conv1", "bn1")
    separable("low", "conv2", "bn2")
    separable("decode0", "last_conv.0", "last_conv.1")
    separable("decode1", "last_conv.3", "last_conv.4")
    return modules


MODULES: dict[str, Callable[[], dict[str, str]]] = {
    "dabnet": dabnet,
    "esnet": esnet,
    "fddwnet": fddwnet,
    "fpenet": fpenet,
    "liteseg_mobilenet": partial(liteseg, _mobilenet),
    "liteseg_shufflenet": partial(liteseg, _shufflenet),
    "liteseg_darknet": partial(liteseg, _darknet),
}
