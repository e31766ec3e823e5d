"""Networks: `ESNet(num_classes=19)`, or by name `create("esnet", num_classes=19)`."""

from typing import Any

import flax.linen as nn

from jaxseg.models.backbones import Darknet19, MobileNetV2, ShuffleNet
from jaxseg.models.dabnet import DABModule, DABNet
from jaxseg.models.esnet import FCU, PFCU, ESNet
from jaxseg.models.fddwnet import EERM, FDDWNet
from jaxseg.models.fpenet import MEU, FPEBlock, FPENet
from jaxseg.models.liteseg import DASPP, LiteSeg
from jaxseg.models.registry import NETWORKS
from jaxseg.models.sizes import SIZE_LEAST, SIZE_MULTIPLE, pad_to_multiple

__all__ = ["DABNet", "DABModule"]
__all__ += ["ESNet", "FCU", "PFCU", "FDDWNet", "EERM"]
__all__ += ["FPENet", "FPEBlock", "MEU"]
__all__ += ["LiteSeg", "DASPP", "MobileNetV2", "ShuffleNet", "Darknet19"]
__all__ += ["SIZE_LEAST", "SIZE_MULTIPLE", "create", "names", "pad_to_multiple"]


def names() -> list[str]:
    """The names that `create` knows."""
    return sorted(NETWORKS)


def create(name: str, **kwargs: Any) -> nn.Module:
    """The network called `name`, built with `kwargs`.

    A list becomes a tuple: JSON has no tuples, and a module must be hashable. None
    leaves an argument at the network's own value.

    Raises:
        ValueError: no network has that name; the message lists those that there are.
        TypeError: the network takes no such argument.
    """
    if name not in NETWORKS:
        known = ", ".join(names())
        raise ValueError(f"no network is called {name!r}; there are: {known}.")
    given = {k: v for k, v in kwargs.items() if v is not None}
    hashable = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return NETWORKS[name].build(**hashable)
