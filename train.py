"""Trains a network: python train.py --config configs/esnet.py [--workdir runs/esnet]

  python train.py --config configs/esnet.py
      the bundled street scenes, no data needed
  python train.py --config configs/esnet.py:camvid --config.data.dir=PATH
      CamVid; PATH holds train/ trainannot/ val/ valannot/ test/ testannot/
  python train.py --config configs/esnet.py:camvid --config.data.dir=PATH \\
      --config.train.batch_size=4 --config.augment.crop_hw="(240, 320)"
      any value of the config can be set

The same command again goes on where it stopped; SIGTERM saves and exits with 0.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", help_string="the recipe's file")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "where the run is kept; runs/<name of the config file> by default"
)


def main() -> None:
    path = _config_file()
    runtime.setup()
    from jaxseg.training.loop import train

    workdir = _WORKDIR.value or f"runs/{path.stem}"
    run, finished = train(_CONFIG.value, workdir)
    if finished:
        print(
            f"Trained. What next:\n"
            f"  python eval.py --ckpt {workdir} --split val\n"
            f"  python predict.py --ckpt {workdir} --input PICTURE_OR_FOLDER "
            f"--output out/\n"
            f"  {run.folder}/samples.png shows image | truth | prediction; "
            f"tensorboard --logdir {workdir} the curves"
        )


def _config_file() -> Path:
    if not flags.FLAGS["config"].present:
        raise UserError("--config is missing, e.g. --config configs/esnet.py")
    given = config_flags.get_config_filename(flags.FLAGS["config"])
    path = Path(given.split(":")[0])
    if not path.is_file():
        raise UserError(f"--config: there is no file {path}.")
    return path


if __name__ == "__main__":
    cli.run(main)
