"""Looks a data set over before hours go into it, with the flags of train.py:

  python check.py --config configs/dabnet.py:folder --config.data.dir=PATH

Reads every picture and label image and lists all that is wrong, with what to do; then
the share of each class, with weights to paste, and what a training would be: sizes,
steps, time. The exit code says whether training may start.
"""

from absl import flags
from ml_collections import config_flags

from jaxseg import cli, runtime

_CONFIG = config_flags.DEFINE_config_file("config", help_string="the recipe's file")
_SPLITS = flags.DEFINE_list("splits", [], "look at these alone, such as train,val")


def main() -> None:
    cli.config_file()
    runtime.setup()
    from rich.console import Console

    from jaxseg.data.check import look_over
    from jaxseg.data.sources import open_source
    from jaxseg.training.forecast import forecast

    config, console = _CONFIG.value, Console(highlight=False)
    source = open_source(config.data.name, config.data.dir)
    look_over(source, _SPLITS.value, console)
    if not _SPLITS.value:
        for line in forecast(config, source):
            console.print(line, soft_wrap=True, markup=False)
        console.print("Training may start.")
