"""One block of each kind in training mode against NumPy: output and running statistics.

The running values are PyTorch's: they move by the momentum towards the batch's mean and
its unbiased variance, while the batch is normalised by the biased one.
"""

from functools import partial

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxseg import models
from jaxseg.models.backbones import InvertedResidual, ShuffleUnit
from jaxseg.models.units import Downsampler, Upsampler

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def draw(rng, shape):
    """Kernels of unit gain; a slope, scale or bias is about one half."""
    if len(shape) == 4:
        value = rng.normal(0, np.prod(shape[:3]) ** -0.5, shape)
    else:
        value = rng.normal(0.5, 0.2, shape)
    return value.astype(np.float32)


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return np.clip(x, 0, 6)


class Layers:
    """A block's layers in float64, by the path of their parameters."""

    def __init__(self, params, eps):
        self.params = {
            k: np.float64(v) for k, v in flatten_dict(params, sep="/").items()
        }
        self.eps = eps
        self.running = {}  # path of a norm -> mean, variance

    def conv(self, x, path, dilation=(1, 1), stride=1, groups=1):
        kernel = self.params[f"{path}/kernel"]
        kh, kw, ci, co = kernel.shape
        pads = [(d * (k - 1) // 2,) * 2 for d, k in zip(dilation, (kh, kw))]
        padded = np.pad(x, [(0, 0), *pads, (0, 0)])
        h, w = (-(-n // stride) for n in x.shape[1:3])
        y = np.zeros((len(x), h, w, groups, co // groups))
        for i in range(kh):
            for j in range(kw):
                top, left = i * dilation[0], j * dilation[1]
                tap = padded[:, top:, left:][:, ::stride, ::stride][:, :h, :w]
                tap = tap.reshape(len(x), h, w, groups, ci)
                weight = kernel[i, j].reshape(ci, groups, co // groups)
                y += np.einsum("bhwgi,igo->bhwgo", tap, weight)
        return y.reshape(len(x), h, w, co) + self.params.get(f"{path}/bias", 0)

    def depthwise(self, x, path, dilation=(1, 1), stride=1):
        return self.conv(x, path, dilation, stride, groups=x.shape[-1])

    def norm(self, x, path):
        mean, var = self.running.get(path, (1, 1))
        axes = (0, 1, 2)
        mean = 0.9 * mean + 0.1 * x.mean(axes)
        var = 0.9 * var + 0.1 * x.var(axes, ddof=1)
        self.running[path] = mean, var
        x = (x - x.mean(axes)) / np.sqrt(x.var(axes) + self.eps)
        return x * self.params[f"{path}/scale"] + self.params[f"{path}/bias"]

    def prelu(self, x, path):
        return np.where(x > 0, x, x * self.params[f"{path}/slope"])

    def unit(self, x, path, act=lambda x: x, kind="conv", **geometry):
        """Convolution, norm, activation."""
        y = getattr(self, kind)(x, f"{path}/{kind}", **geometry)
        return act(self.norm(y, f"{path}/norm"))


def fcu(n, x):
    y = relu(n.conv(x, "tall1/conv"))
    y = n.unit(y, "wide1", relu)
    y = relu(n.conv(y, "tall2/conv"))
    return relu(x + n.unit(y, "wide2"))


def pfcu(n, x):
    y = n.unit(relu(n.conv(x, "tall/conv")), "wide", relu)
    total = x
    for d in (2, 5, 9):
        z = relu(n.conv(y, f"tall_d{d}/conv", (d, 1)))
        z = n.conv(z, f"wide_d{d}/conv", (1, d))
        total = total + n.norm(z, "norm")  # one norm, moved three times
    return relu(total)


def dab_module(n, x):
    def pair(y, path, d):
        for half, dilation in (("tall", (d, 1)), ("wide", (1, d))):
            y = n.unit(y, f"{path}/{half}", kind="depthwise", dilation=dilation)
            y = n.prelu(y, f"{path}/{half}/prelu")
        return y

    y = n.prelu(n.norm(x, "norm_in/norm"), "norm_in/prelu")
    y = n.prelu(n.unit(y, "squeeze"), "squeeze/prelu")
    y = pair(y, "plain", 1) + pair(y, "dilated", 4)
    y = n.prelu(n.norm(y, "norm_sum/norm"), "norm_sum/prelu")
    return x + n.conv(y, "expand")


def eerm(n, x):
    y = x
    for i, d in ((1, 1), (2, 5)):
        y = n.unit(y, f"pair{i}/tall", kind="depthwise", dilation=(d, 1))
        y = n.unit(y, f"pair{i}/wide", kind="depthwise", dilation=(1, d))
        y = n.unit(y, f"mix{i}", relu6 if i == 1 else lambda x: x)
    return relu6(x + y)


def fpe_block(n, x):
    groups = np.split(n.unit(x, "expand", relu), 4, -1)
    results = []
    for i, d in enumerate((1, 2, 4, 8)):
        group = groups[i] + (results[-1] if i else 0)
        kwargs = dict(kind="depthwise", dilation=(d, d))
        results.append(n.unit(group, f"branch{i}", relu, **kwargs))
    return x + n.unit(np.concatenate(results, -1), "project")


def inverted_residual(n, x):
    y = n.unit(x, "expand", relu6)
    y = n.unit(y, "depthwise", relu6, "depthwise")
    return x + n.unit(y, "project")


def shuffle_unit(n, x):
    y = n.unit(x, "compress", relu, groups=8)
    # Channel k of group g becomes channel g of its new group k.
    y = np.stack([y[..., g * 2 + k] for k in range(2) for g in range(8)], -1)
    y = n.unit(y, "depthwise", kind="depthwise")
    return relu(x + n.unit(y, "expand", groups=8))


def daspp(n, x):
    def separable(y, path, act, dilation=1):
        y = n.depthwise(y, f"{path}/depthwise", (dilation, dilation))
        return n.unit(y, f"{path}/mix", act)

    maps = [x, separable(x, "branch1", lambda x: x)]
    for rate in (3, 6, 9):
        y = separable(x, f"branch{rate}", lambda x: x, rate)
        maps.append(separable(y, f"refine{rate}", relu))
    mean = n.unit(x.mean((1, 2), keepdims=True), "pool", relu)
    maps.append(np.broadcast_to(mean, (*x.shape[:3], 96)))
    return np.concatenate(maps, -1)


def downsampler(n, x):
    b, h, w, c = x.shape
    pooled = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
    y = np.concatenate([n.conv(x, "conv", stride=2), pooled], -1)
    return relu(n.norm(y, "norm"))


def upsampler(n, x):
    """By the definition of the transposed convolution: pixels scatter the kernel."""
    kernel, (b, h, w, _) = n.params["deconv/kernel"], x.shape
    full = np.zeros((b, 2 * h + 2, 2 * w + 2, kernel.shape[-1]))
    for i in range(3):
        for j in range(3):
            full[:, i : i + 2 * h : 2, j : j + 2 * w : 2] += x @ kernel[i, j]
    y = full[:, 1 : 2 * h + 1, 1 : 2 * w + 1] + n.params["deconv/bias"]
    return relu(n.norm(y, "norm"))


@pytest.mark.parametrize(
    "block, by_hand, channels, eps",
    [
        (models.FCU(5), fcu, 4, 1e-3),
        (models.PFCU(dropout=0.0), pfcu, 4, 1e-3),
        (models.DABModule(4), dab_module, 6, 1e-3),
        (models.EERM(5), eerm, 4, 1e-3),
        (models.FPEBlock(4), fpe_block, 4, 1e-5),
        (InvertedResidual(4, 6, 1), inverted_residual, 4, 1e-5),
        (ShuffleUnit(64), shuffle_unit, 64, 1e-5),
        (models.DASPP(), daspp, 4, 1e-5),
        (Downsampler(7, 1e-3, "relu"), downsampler, 3, 1e-3),
        (Upsampler(5, 1e-3, "relu"), upsampler, 4, 1e-3),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "",
)
def test_training_output_and_statistics(block, by_hand, channels, eps):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 6, 10, channels)).astype(np.float32)
    shapes = jax.eval_shape(lambda: block.init(jax.random.key(1), x, train=False))
    # Scales and biases that are not 1 and 0: a norm in another place would show.
    variables = {
        "params": jax.tree.map(lambda p: draw(rng, p.shape), shapes["params"]),
        "batch_stats": jax.tree.map(
            lambda p: np.ones(p.shape, np.float32), shapes["batch_stats"]
        ),
    }
    forward = partial(block.apply, train=True, mutable=["batch_stats"])
    y, updated = jax.jit(forward)(variables, x)
    layers = Layers(variables["params"], eps)
    expected = by_hand(layers, np.float64(x))
    np.testing.assert_allclose(y, expected, atol=2e-5 * np.abs(expected).max())
    stats = flatten_dict(updated["batch_stats"], sep="/")
    assert {path.rsplit("/", 1)[0] for path in stats} == set(layers.running)
    for path, (mean, var) in layers.running.items():
        np.testing.assert_allclose(stats[f"{path}/mean"], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(stats[f"{path}/var"], var, rtol=1e-4)
