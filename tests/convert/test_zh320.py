"""Checkpoints of zh320/realtime-semantic-segmentation-pytorch: each known and refused.

The lists of names and shapes below follow from that repository's modules; that they are
right is shown by their numbers of parameters, which its page states.
"""

import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest
from conftest import run
from safetensors.numpy import save_file

from jaxseg.convert.keys import MODULES
from jaxseg.convert.matching import read_weights
from jaxseg.convert.torch import match_state_dict
from jaxseg.convert.zh320 import refuse
from jaxseg.errors import UserError


class Names(dict):
    """Shapes by name, as modules of PyTorch have them."""

    def unit(self, at, out, inner, h, w, act="none"):
        """A convolution, a batch norm and an activation."""
        self[f"{at}.0.weight"] = (out, inner, h, w)
        self.norm(f"{at}.1", out)
        if act == "prelu":
            self[f"{at}.2.activation.weight"] = (1,)

    def norm(self, at, c):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            self[f"{at}.{leaf}"] = (c,)
        self[f"{at}.num_batches_tracked"] = ()

    def up(self, at, out, inner):
        self[f"{at}.up_conv.0.weight"] = (inner, out, 3, 3)
        self[f"{at}.up_conv.0.bias"] = (out,)
        self.norm(f"{at}.up_conv.1", out)


def dabnet():
    names = Names()
    for i, inner in ((1, 3), (2, 32), (3, 32)):
        names.unit(f"layer{i}", 32, inner, 3, 3, "prelu")
    names.unit("layer4.conv", 64 - 35, 35, 3, 3, "prelu")
    names.unit("layer8", 128, 131, 3, 3, "prelu")
    blocks = (("5_7", 64, 3), ("9_10", 128, 2), ("11_12", 128, 2), ("13_14", 128, 2))
    for layers, c, count in blocks:
        for i in range(count):
            at = f"layer{layers}.{i}"
            names.unit(f"{at}.init_conv", c // 2, c, 3, 3, "prelu")
            for side in ("left", "right"):
                names.unit(f"{at}.{side}_branch.0", c // 2, 1, 3, 1, "prelu")
                names.unit(f"{at}.{side}_branch.1", c // 2, 1, 1, 3, "prelu")
            names.unit(f"{at}.last_conv", c, c // 2, 1, 1, "prelu")
    names["layer15.weight"] = (19, 259, 1, 1)
    return names


def esnet():
    names = Names()

    def pair(at, first, c, k):
        names[f"{at}.{first}.weight"] = (c, c, k, 1)
        names.unit(f"{at}.{first + 2}", c, c, 1, k)

    for i, out, inner in ((1, 16, 3), (2, 64, 16), (3, 128, 64)):
        names.unit(f"block{i}_down.conv", out - inner, inner, 3, 3)
    for block, c, count, k in (
        (1, 16, 3, 3),
        (2, 64, 2, 5),
        (4, 64, 2, 5),
        (5, 16, 2, 3),
    ):
        for i in range(count):
            pair(f"block{block}.{i}.conv", 0, c, k)
            pair(f"block{block}.{i}.conv", 3, c, k)
    for i in range(3):
        for part in ("conv0", "conv_left", "conv_mid", "conv_right"):
            pair(f"block3.{i}.{part}", 0, 128, 3)
    for at, out, inner in (("block4_up", 64, 128), ("block5_up", 16, 64)):
        names.up(at, out, inner)
    names.up("full_conv", 19, 16)
    return names


def fddwnet():
    names = Names()
    for i, out, inner in ((1, 16, 3), (2, 64, 16), (8, 128, 64)):
        names.unit(f"layer{i}.conv", out - inner, inner, 3, 3)
    blocks = (("3_7", 64, 5), ("9_16", 128, 8), ("17_24", 128, 8))
    for layers, c, count in (*blocks, ("26_27", 64, 2), ("29_30", 16, 2)):
        for i in range(count):
            for first in (0, 3):
                at = f"layer{layers}.{i}.conv"
                names.unit(f"{at}.{first}", c, 1, 3, 1)
                names.unit(f"{at}.{first + 1}", c, 1, 1, 3)
                names.unit(f"{at}.{first + 2}", c, c, 1, 1)
    for i, out, inner in ((25, 64, 128), (28, 16, 64), (31, 19, 16)):
        names.up(f"layer{i}", out, inner)
    return names


def fpenet():
    names = Names()

    def block(at, out, inner, expansion=4):
        hidden = expansion * out
        names.unit(f"{at}.conv_init", hidden, inner, 1, 1)
        for i in range(4):
            names.unit(f"{at}.layers.{i}", hidden // 4, 1, 3, 3)
        names.unit(f"{at}.conv_last", out, hidden, 1, 1)

    names.unit("stage1.0", 16, 3, 3, 3)
    block("stage1.1", 16, 16, 1)
    for stage, out, count in ((2, 32, 2), (3, 64, 8)):
        block(f"stage{stage}_0", out, out // 2)
        for i in range(count):
            block(f"stage{stage}.{i}", out, out)
    for stage, low, out in ((2, 32, 64), (1, 16, 32)):
        names.unit(f"decoder{stage}.conv_low", out, low, 1, 1)
        names.unit(f"decoder{stage}.conv_high", out, 64, 1, 1)
        names.unit(f"decoder{stage}.sa.conv", 1, 1, 1, 1)
        names.unit(f"decoder{stage}.ca.1", out, out, 1, 1)
    names.unit("final", 19, 32, 1, 1)
    return names


def liteseg():
    """With torchvision's MobileNetV2, cut in four."""
    names, number, inner = Names(), 1, 32
    starts = {0: "layer1", 4: "layer2", 7: "layer3", 14: "layer4"}

    def at(number):
        start = max(n for n in starts if n <= number)
        return f"backbone.{starts[start]}.{number - start}"

    names.unit(at(0), 32, 3, 3, 3)
    widths = ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))
    for out, count in widths:
        for _ in range(count):
            block, hidden, step = f"{at(number)}.conv", inner, 0
            if number > 1:
                hidden, step = 6 * inner, 1
                names.unit(f"{block}.0", hidden, inner, 1, 1)
            names.unit(f"{block}.{step}", hidden, 1, 3, 3)
            names[f"{block}.{step + 1}.weight"] = (out, hidden, 1, 1)
            names.norm(f"{block}.{step + 2}", out)
            number, inner = number + 1, out
    for i, k in ((1, 1), (2, 3), (3, 3), (4, 3)):
        names.unit(f"daspp.stage{i}", 64, 320, k, k)
    names["daspp.stage5.1.weight"] = (64, 320, 1, 1)
    names.unit("daspp.conv", 512, 640, 1, 1)
    names.unit("seg_head.0", 256, 544, 3, 3)
    names.unit("seg_head.1", 128, 256, 3, 3)
    names["seg_head.2.weight"] = (19, 128, 1, 1)
    return names


# The page's millions of parameters, and what has to be in the sentence.
THEIRS = {
    "DABNet": (
        dabnet,
        0.75,
        "not before the first.*concatenations.*3x3 maxima.*corners",
    ),
    "ESNet": (esnet, 1.66, "3x3 maxima.*norm and ReLU, not 2x2"),
    "FDDWNet": (fddwnet, 0.77, "one skip.*ReLU, not ReLU6.*3x3 maxima.*not 2x2"),
    "FPENet": (fpenet, 0.36, "no long skips.*four dilations.*MEU.*align_corners"),
    "LiteSeg": (liteseg, 4.29, "without the last.*1/8.*one convolution per branch"),
}


@pytest.mark.parametrize("network", THEIRS)
def test_the_lists_of_names_have_the_published_number_of_parameters(network):
    names, millions, _ = THEIRS[network]
    trained = {k: v for k, v in names().items() if "running" not in k}
    count = sum(math.prod(v) for k, v in trained.items() if "num_batches" not in k)
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("network", THEIRS)
def test_each_is_known_and_what_differs_is_said(network):
    names, _, differs = THEIRS[network]
    with pytest.raises(UserError, match=f"{network} of zh320.*{differs}.*Nothing was"):
        refuse(names(), "--from a.pth")


def test_an_authors_network_is_not_taken_for_one_of_theirs():
    for name, modules in MODULES.items():
        names = {f"{module}.weight" for module in modules().values()}
        refuse(names, name)


@pytest.mark.parametrize("network", THEIRS)
@pytest.mark.parametrize("name", ["dabnet", "fpenet", "liteseg_mobilenet"])
def test_without_the_refusal_not_one_array_would_fit(network, name):
    state_dict = {k: np.empty(0) for k in THEIRS[network][0]()}
    assert match_state_dict(name, state_dict)[0] == {}


def write_like_their_trainer(path, state_dict, monkeypatch):
    """What `torch.save` makes of their `best.pth`, without PyTorch."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")

    def rebuild(*_):
        raise AssertionError("run on writing")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Storage:
        def __init__(self, key, array):
            self.id = ("storage", torch.FloatStorage, key, "cuda:0", array.size)

    class Tensor:
        def __init__(self, key, array):
            self.key, self.array = str(key), array

        def __reduce__(self):
            strides = tuple(s // 4 for s in self.array.strides)
            storage = Storage(self.key, self.array)
            more = (self.array.shape, strides, False, OrderedDict())
            return rebuild, (storage, 0, *more)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.id if isinstance(value, Storage) else None

    arrays = {"best_score": np.full((), 0.72, np.float32), **state_dict}
    tensors = {name: Tensor(i, a) for i, (name, a) in enumerate(arrays.items())}
    content = {"cur_epoch": 799, "best_score": tensors.pop("best_score")}
    content |= {"state_dict": OrderedDict(tensors), "optimizer": None}
    file = io.BytesIO()
    Pickler(file, 2).dump({**content, "scheduler": None})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", file.getvalue())
        for i, array in enumerate(arrays.values()):
            archive.writestr(f"best/data/{i}", np.asarray(array).tobytes())


def test_a_file_as_their_trainer_writes_it(tmp_path, monkeypatch):
    arrays = {k: np.zeros(shape, np.float32) for k, shape in fpenet().items()}
    with monkeypatch.context() as patch:
        write_like_their_trainer(tmp_path / "best.pth", arrays, patch)
    with pytest.raises(UserError, match=r"--init-from .*best.pth: this is the FPENet"):
        read_weights("fpenet", str(tmp_path / "best.pth"), "--init-from")


def test_the_command(tmp_path):
    arrays = {k: np.zeros(shape, np.float32) for k, shape in dabnet().items()}
    save_file(arrays, tmp_path / "dabnet.safetensors")
    code, out, err = run(
        *("-m", "jaxseg.convert", "--config=configs/dabnet.py:cityscapes"),
        f"--from={tmp_path / 'dabnet.safetensors'}",
        *("--partial", f"--output={tmp_path / 'run'}"),
    )
    assert code == 2 and not (tmp_path / "run").exists()
    assert "this is the DABNet of zh320/" in err and err.count("\n") == 1
