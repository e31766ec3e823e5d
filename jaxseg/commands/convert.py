"""Weights of others made a run, and weights of a run made a file for others.

  python -m jaxseg.convert --config configs/dabnet.py:cityscapes \\
      --from authors.pth --output runs/dabnet-authors
      a run, which eval.py, predict.py, export.py and train.py --init-from take; --from
      is a .pth or .safetensors file with the authors' names, of the network or of a
      LiteSeg backbone (torchvision's MobileNetV2 too), or Darknet19's .weights

  python -m jaxseg.convert --ckpt runs/dabnet --to safetensors \\
      --output dabnet.safetensors
      the authors' names and PyTorch's order of axes; --to pth needs PyTorch

What was loaded, skipped, missing and of another shape is listed.
"""

from pathlib import Path
from typing import cast

from absl import flags
from ml_collections import config_flags

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="the recipe's file, which says what --from is the weights of"
)
_FROM = flags.DEFINE_string("from", None, "a file of weights")
_PARTIAL = flags.DEFINE_bool(
    "partial", False, "go on although some of the network's arrays are not there"
)
_CKPT = flags.DEFINE_string("ckpt", None, "a run's folder, or weights that ship")
_TO = flags.DEFINE_string("to", None, "safetensors or pth")
_STEP = flags.DEFINE_string("step", "best", "best, last or a step")
_OUTPUT = flags.DEFINE_string("output", None, "what to write", required=True)


def main() -> None:
    runtime.setup()
    from jaxseg.convert.exchange import make_run, write_weights
    from jaxseg.data.sources import table_of

    if bool(_FROM.value) == bool(_CKPT.value):
        raise UserError("give --from FILE to make a run, or --ckpt RUN to make a file.")
    if _CKPT.value:
        if not _TO.value:
            raise UserError("--to is missing; it can be safetensors or pth.")
        step = cli.step_name(_STEP.value)
        count = write_weights(_CKPT.value, _TO.value, _OUTPUT.value, step)
        print(f"{_OUTPUT.value}: {count} arrays.")
        return
    cli.config_file()
    config = _CONFIG.value
    if config.data.dir:  # the run may be read from elsewhere
        config.data.dir = str(Path(config.data.dir).expanduser().absolute())
    table = table_of(config.data.name, config.data.dir)
    config.model.num_classes = config.model.num_classes or len(table)
    make_run(
        cast(str, _FROM.value), config.to_dict(), table, _OUTPUT.value, _PARTIAL.value
    )
    run = _OUTPUT.value
    print(
        f"What next:\n"
        f"  {cli.command('eval')} --ckpt {run} --split val\n"
        f"  {cli.command('train')} --config ... --init-from {run} --workdir ..."
    )
