"""Networks: `ESNet(num_classes=19)`, or by name `create("esnet", num_classes=19)`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn

from jaxseg.models.backbones import Darknet19, MobileNetV2, ShuffleNet
from jaxseg.models.dabnet import DABModule, DABNet
from jaxseg.models.esnet import FCU, PFCU, ESNet
from jaxseg.models.fddwnet import EERM, FDDWNet
from jaxseg.models.fpenet import MEU, FPEBlock, FPENet
from jaxseg.models.liteseg import DASPP, LiteSeg
from jaxseg.models.sizes import SIZE_LEAST, SIZE_MULTIPLE, pad_to_multiple

__all__ = ["DABNet", "DABModule"]
__all__ += ["ESNet", "FCU", "PFCU", "FDDWNet", "EERM"]
__all__ += ["FPENet", "FPEBlock", "MEU"]
__all__ += ["LiteSeg", "DASPP", "MobileNetV2", "ShuffleNet", "Darknet19"]
__all__ += ["SIZE_LEAST", "SIZE_MULTIPLE", "create", "names", "pad_to_multiple"]

_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "dabnet": DABNet,
    "esnet": ESNet,
    "fddwnet": FDDWNet,
    "fpenet": FPENet,
    "liteseg_mobilenet": partial(LiteSeg, backbone="mobilenet_v2"),
    "liteseg_shufflenet": partial(LiteSeg, backbone="shufflenet"),
    "liteseg_darknet": partial(LiteSeg, backbone="darknet19"),
}


def names() -> list[str]:
    """The names that `create` knows."""
    return sorted(_NETWORKS)


def create(name: str, **kwargs: Any) -> nn.Module:
    """The network called `name`, built with `kwargs`.

    A list becomes a tuple: JSON has no tuples, and a module must be hashable.

    Raises:
        ValueError: no network has that name; the message lists those that there are.
        TypeError: the network takes no such argument.
    """
    if name not in _NETWORKS:
        known = ", ".join(names())
        raise ValueError(f"no network is called {name!r}; there are: {known}.")
    hashable = {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    return _NETWORKS[name](**hashable)
