"""Maps that several operations read, which are therefore written to memory once.

They are written with a margin of zeros, as wide as the convolutions that read them
need, so that no reader has to pad them again. A missing or too narrow entry here costs
time but changes no value.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxseg.models.dabnet import DABModule
from jaxseg.models.esnet import FCU, PFCU
from jaxseg.models.fddwnet import EERM, FDDWNet
from jaxseg.models.fpenet import MEU, FPEBlock
from jaxseg.ops import Map, Pair, store

Margin = Callable[[Any], Pair]  # of a block


def _none(block: nn.Module) -> Pair:
    return 0, 0


# What a block reads more than once: its input,
INPUTS: dict[type[nn.Module], Margin] = {
    FCU: lambda block: (block.kernel // 2, 0),
    PFCU: _none,
    DABModule: _none,
    EERM: lambda block: (1, 1),
    FPEBlock: _none,
}
# or what a part of it returned, by the part's name.
OUTPUTS: dict[type, dict[str | None, Margin]] = {
    PFCU: {"wide": _none},
    DABModule: {"squeeze": lambda block: (block.dilation, 0)},
    FDDWNet: {"eerm2_4": lambda block: (1, 1)},
    FPEBlock: {f"branch{i}": _none for i in range(8)},  # twice as many as it has
    MEU: {"low": _none},
}


def stored_input(block: nn.Module, x: Map) -> Map:
    margin = INPUTS.get(type(block))
    return store(x, margin(block)) if margin else x


def stored_output(part: nn.Module, x: Map) -> Map:
    block = part.parent
    margin = OUTPUTS.get(type(block), {}).get(part.name)
    return store(x, margin(block)) if margin else x
