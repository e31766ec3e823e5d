"""Blocks of single networks as they are deployed, where that is not their own code."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.deploy.layers import Form, WeightsOf, convolve, convolve_depthwise
from jaxseg.deploy.weights import Weights, block_diagonal, then_norm
from jaxseg.models import backbones, fpenet
from jaxseg.models.backbones import ShuffleUnit
from jaxseg.models.fpenet import FPEBlock
from jaxseg.models.liteseg import SeparableUnit
from jaxseg.ops import (
    Map,
    Pair,
    Parts,
    as_array,
    avg_pool3,
    concatenate,
    relu,
    splits_channels,
    store,
)

QUARTERS = 4  # maps that have the channels of the deployed ShuffleNet


def _fold_separable(
    unit: SeparableUnit, weights: WeightsOf, hw: Pair
) -> Weights | None:
    """A depthwise 1x1 is a factor per channel, which goes into the 1x1 after it."""
    if not unit.separable or unit.kernel != 1:
        return None
    own = weights(unit.path)
    factors = own["depthwise"]["kernel"].swapaxes(2, 3)
    kernel = {"kernel": factors * own["mix"]["conv"]["kernel"]}
    return {"mix": {"conv": then_norm(kernel, own["mix"]["norm"], backbones.EPS)}}


def _fold_pyramid(unit: FPEBlock, weights: WeightsOf, hw: Pair) -> Weights | None:
    """One kernel per group: the pixels of a group cut out of one wide map would not lie
    together in memory."""
    if not splits_channels():
        return None
    own, n = weights(unit.path), len(unit.rates)
    folded = {
        name: {part: then_norm(own[name][part], own[name]["norm"], fpenet.EPS)}
        for name, part in [("project", "conv")]
        + [(f"branch{i}", "depthwise") for i in range(n)]
    }
    expand = then_norm(own["expand"]["conv"], own["expand"]["norm"], fpenet.EPS)
    parts = [np.split(expand[leaf], n, -1) for leaf in ("kernel", "bias")]
    for i, (kernel, bias) in enumerate(zip(*parts)):
        folded[f"expand{i}"] = {"conv": {"kernel": kernel, "bias": bias}}
    return folded


def _pyramid(unit: FPEBlock, weights: Weights, x: Map) -> jax.Array:
    """`FPEBlock` with one convolution per group instead of a grouped one."""
    x = store(x)
    groups = [
        relu(convolve(weights[f"expand{i}"]["conv"], x)) for i in range(len(unit.rates))
    ]
    results: list[Map] = []
    for i, (group, rate) in enumerate(zip(groups, unit.rates)):
        if unit.chain and unit.stride == 1 and i > 0:
            group = group + as_array(results[-1])
        branch = convolve_depthwise(
            weights[f"branch{i}"]["depthwise"],
            group,
            stride=unit.stride,
            dilation=(rate, rate),
        )
        results.append(store(relu(branch)))
    y = convolve(weights["project"]["conv"], concatenate(results))
    return as_array(x) + y if x.shape == y.shape else y


def _fold_shuffle(unit: ShuffleUnit, weights: WeightsOf, hw: Pair) -> Weights | None:
    """A quarter of the channels a map, and no shuffling between the convolutions.

    Two groups of a 1x1 convolution are one matrix with zeros in it: a CPU multiplies it
    faster than it brings the channels of groups together. Between the two convolutions
    the channels are in the order that these make.
    """
    if not splits_channels():
        return None
    own = weights(unit.path)
    compress, expand, depthwise = (
        then_norm(own[name][part], own[name]["norm"], backbones.EPS)
        for name, part in (
            ("compress", "conv"),
            ("expand", "conv"),
            ("depthwise", "depthwise"),
        )
    )
    first = block_diagonal(compress["kernel"][0, 0], unit.first_groups)
    maps = 1 if unit.first_groups == 1 else QUARTERS
    ci, middle = first.shape
    order, source = _places(middle, maps)
    folded = {}
    for i in range(maps):
        rows = slice(i * ci // maps, (i + 1) * ci // maps)
        columns = source[np.concatenate(order[i])]
        kernel = first[rows, columns][None, None]
        conv = {"kernel": kernel, "bias": compress["bias"][columns]}
        folded[f"compress{i}"] = {"conv": conv}
    ends = _ends(unit, ci)
    for j, (start, end) in enumerate(zip(ends, ends[1:])):
        folded[f"bias{j}"] = expand["bias"][start:end]
    for part in range(QUARTERS):
        places = np.concatenate([of_one[part] for of_one in order])
        taps = {leaf: depthwise[leaf][..., places] for leaf in ("kernel", "bias")}
        folded[f"depthwise{part}"] = {"depthwise": taps}
        for j, kernel in _blocks(expand["kernel"][0, 0], places, ends):
            folded[f"expand{part}_{j}"] = {"conv": {"kernel": kernel}}
    return folded


def _places(middle: int, maps: int) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """The order of the channels between the two convolutions.

    For each map of the input and each quarter, the places behind the shuffle that it
    fills; and of each place the channel that the shuffle brings there.
    """
    source = np.arange(middle).reshape(8, -1).T.ravel()
    place, of_map = np.arange(middle), source // (middle // maps)
    order = [
        [
            place[(of_map == i) & (place // (middle // QUARTERS) == part)]
            for part in range(QUARTERS)
        ]
        for i in range(maps)
    ]
    return order, source


def _ends(unit: ShuffleUnit, ci: int) -> np.ndarray:
    """The ends of the result's quarters among the second convolution's outputs.

    Where the unit halves the size, the averaged input comes first: the quarters that it
    fills take nothing of the convolution.
    """
    ends = np.arange(QUARTERS + 1) * (unit.features // QUARTERS)
    return np.maximum(ends - (ci if unit.halve else 0), 0)


def _blocks(kernel: np.ndarray, places: np.ndarray, ends: np.ndarray):
    """The parts of the second convolution that are not zero for these inputs."""
    last, linked = (block_diagonal(k, 8) for k in (kernel, np.ones_like(kernel)))
    for j, (start, end) in enumerate(zip(ends, ends[1:])):
        if linked[places, start:end].any():
            yield j, last[places, start:end][None, None]


def _shuffle(unit: ShuffleUnit, weights: Weights, x: Map) -> Parts:
    maps = x.maps if isinstance(x, Parts) else (x,)
    pieces = []
    for i, part in enumerate(maps):
        y = relu(convolve(weights[f"compress{i}"]["conv"], part))
        pieces.append(jnp.split(y, QUARTERS, -1))
    stride = 2 if unit.halve else 1
    middle = [
        convolve_depthwise(
            weights[f"depthwise{i}"]["depthwise"],
            jnp.concatenate(piece, -1),
            stride=stride,
        )
        for i, piece in enumerate(zip(*pieces))
    ]
    kept = [avg_pool3(part) for part in maps] if unit.halve else []
    outputs = []
    for j in range(QUARTERS):
        y = weights[f"bias{j}"].astype(x.dtype)
        added = y.size
        for i, part in enumerate(middle):
            if f"expand{i}_{j}" in weights:
                y = y + convolve(weights[f"expand{i}_{j}"]["conv"], part)
        if unit.halve:
            beside, room = [], unit.features // QUARTERS - added
            while room:
                beside.append(kept.pop(0))
                room -= beside[-1].shape[-1]
            y = jnp.concatenate([*beside, y] if added else beside, -1)
        else:
            y = maps[j] + y
        outputs.append(relu(y))
    return Parts(tuple(outputs))


FORMS = {
    SeparableUnit: Form(_fold_separable),
    FPEBlock: Form(_fold_pyramid, _pyramid),
    ShuffleUnit: Form(_fold_shuffle, _shuffle),
}
