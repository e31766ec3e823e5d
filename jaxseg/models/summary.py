"""Layer table of a network: `python -m jaxseg.models.summary esnet --size 512x1024`.

Parameters and multiply-accumulates of convolutions, by stage, counted over the module
tree without computing anything, beside what the paper prints.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from rich.console import Console
from rich.table import Table

from jaxseg import models
from jaxseg.models.layers import ConvTranspose
from jaxseg.models.registry import NETWORKS


@dataclass
class Stage:
    """One direct part of a network.

    Attributes:
        name: its name, the first part of its parameters' paths; of what a LiteSeg
            backbone consists of the first two.
        output: height, width and channels of what it returned.
        parameters: trained numbers in it.
        macs: multiply-accumulates of its convolutions, for one picture.
    """

    name: str
    output: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0


def _stage_name(path: tuple[str, ...]) -> str | None:
    """The stage that a module or parameter belongs to; None of a backbone itself."""
    if path[0] != "backbone":
        return path[0]
    return "/".join(path[:2]) if len(path) > 1 else None


def stages(
    model: nn.Module,
    hw: tuple[int, int],
    part_of: Callable[[tuple[str, ...]], str | None] = _stage_name,
) -> list[Stage]:
    """The parts of `model` in the order in which they run on an image of `hw`.

    Args:
        part_of: the name of the part, the beginning of its path, that the module or
            parameter of a path belongs to; None of what is made of several parts.
    """
    found: dict[str | None, Stage] = {}

    def record(call, args, kwargs, context):
        module = context.module
        out = call(*args, **kwargs)
        if context.method_name != "__call__" or not module.path:
            return out
        name = part_of(module.path)
        if name is None:
            return out
        stage = found.setdefault(name, Stage(name))
        if name == "/".join(module.path):
            stage.output = out.shape[1:]
        params = module.variables.get("params", {})
        if "kernel" in params:
            # A transposed convolution multiplies once a pixel of its input.
            transposed = isinstance(module, ConvTranspose)
            h, w = (args[0] if transposed else out).shape[1:3]
            stage.macs += h * w * params["kernel"].size
        return out

    def trace(image):
        with nn.intercept_methods(record):
            return model.init_with_output(jax.random.key(0), image, train=False)

    image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
    _, variables = jax.eval_shape(trace, image)
    for path, leaf in flatten_dict(variables["params"]).items():
        found[part_of(path)].parameters += leaf.size
    return list(found.values())


def main() -> None:
    """Prints the table of the network named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=models.names())
    parser.add_argument("--size", default="512x1024", help="height x width")
    parser.add_argument("--classes", type=int, default=19)
    options = parser.parse_args()
    try:
        h, w = map(int, options.size.split("x"))
        rows = stages(models.create(options.name, num_classes=options.classes), (h, w))
    except ValueError as error:
        parser.error(f"--size {options.size}: {error}")
    table = Table("stage", "output", "parameters", "MMAC", show_footer=True)
    table.columns[0].footer = "total"
    table.columns[2].footer = f"{sum(row.parameters for row in rows):,}"
    table.columns[3].footer = f"{sum(row.macs for row in rows) / 1e6:,.1f}"
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        size = "x".join(map(str, row.output))
        table.add_row(row.name, size, f"{row.parameters:,}", f"{row.macs / 1e6:,.1f}")
    console = Console()
    console.print(table)
    if published := NETWORKS[options.name].published:
        console.print(f"The paper prints {published.size} (19 classes).")


if __name__ == "__main__":
    main()
