"""Training that starts from weights of another run, or of others' files."""

from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict
from rich.console import Console

from jaxseg import weights
from jaxseg.convert.matching import fit, read_weights
from jaxseg.errors import UserError
from jaxseg.runs import Run


def transfer(
    name: str, variables: dict[str, Any], source: str, partial: bool, console: Console
) -> dict[str, Any]:
    """`variables` of network `name` with what `source` has for them in their place.

    What was loaded, what has another shape, what the network has no use for and what
    stays as it was drawn is printed.

    Args:
        source: a run's folder (its best checkpoint is taken) or the name of weights
            that ship; or a file, see `read_weights`.
        partial: go on although arrays of the network are not in `source` or have
            another shape. A file of a backbone is whole without the rest.

    Raises:
        UserError: `source` cannot be read, or does not fit.
    """
    if Path(source).expanduser().is_dir() or source in weights.names():
        run = Run(Path(source).expanduser())
        loaded = flatten_dict(run.variables("best")[0])
        unused: list[str] = []
    else:
        loaded, unused = read_weights(name, source, "--init-from")
    drawn = flatten_dict(variables)
    found = fit(drawn, loaded, unused, source, console)
    if not found.whole and not (found.fitting and partial):
        raise UserError(
            f"--init-from {source}: {len(found.mismatched)} arrays have another shape "
            f"and {len(found.left)} are missing (listed above), so this is not the "
            "same network; --init-partial starts with what fits."
        )
    return unflatten_dict({**drawn, **found.fitting})
