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

from absl import app, flags
from ml_collections import config_flags

from jaxseg import runtime
from jaxseg.errors import exit_with_sentence

_CONFIG = config_flags.DEFINE_config_file("config", help_string="the recipe's file")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "where the run is kept; runs/<name of the config file> by default"
)


@exit_with_sentence
def main(_: list[str]) -> None:
    if _CONFIG.value is None:
        raise app.UsageError("--config is missing, e.g. --config configs/esnet.py")
    runtime.setup()
    from jaxseg.training.loop import train

    path = config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]
    workdir = _WORKDIR.value or f"runs/{Path(path).stem}"
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


if __name__ == "__main__":
    exit_with_sentence(app.run)(main)
