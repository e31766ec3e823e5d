"""Trains a network: python train.py --config configs/esnet.py [--workdir runs/esnet]

  python train.py --config configs/esnet.py
      the bundled street scenes, no data needed
  python train.py --config configs/esnet.py:camvid --config.data.dir=PATH
      CamVid; PATH holds train/ trainannot/ val/ valannot/ test/ testannot/
  python train.py --config configs/esnet.py:camvid --config.data.dir=PATH \\
      --config.train.batch_size=4 --config.augment.crop_hw="(240, 320)"
      any value of the config can be set

  python train.py --config configs/esnet.py:cityscapes --init-from runs/esnet-coarse \\
      --workdir runs/esnet-fine
      starts from another run's weights, or from others' files; see docs/weights.md

The same command again goes on where it stopped. SIGTERM and SIGHUP save and exit with
0, Ctrl-C with 130. All local devices are used; --distributed joins several processes.
"""

from absl import flags
from ml_collections import config_flags

from jaxseg import cli, runtime

_CONFIG = config_flags.DEFINE_config_file("config", help_string="the recipe's file")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "where the run is kept; runs/<name of the config file> by default"
)
_INIT_FROM = flags.DEFINE_string(
    "init-from",
    None,
    "start a new run from the weights of a run's folder, a .pth file of the authors' "
    "network or backbone, Darknet19's .weights, or `imagenet` (MobileNetV2)",
)
_INIT_PARTIAL = flags.DEFINE_bool(
    "init-partial", False, "start although some of the network's arrays are not there"
)
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "one of several processes: `auto` under SLURM, Kubernetes, MPI or on a TPU pod, "
    "else COORDINATOR:PORT,NUMBER,COUNT",
)


def main() -> None:
    path = cli.config_file()
    runtime.setup()
    if _DISTRIBUTED.value:
        runtime.join_processes(_DISTRIBUTED.value)
    from jaxseg.devices import is_main
    from jaxseg.training.train import train

    workdir = _WORKDIR.value or f"runs/{path.stem}"
    run, finished = train(
        _CONFIG.value,
        workdir,
        init_from=_INIT_FROM.value,
        init_partial=_INIT_PARTIAL.value,
    )
    if finished and is_main():
        print(
            f"What next:\n"
            f"  {cli.command('eval')} --ckpt {workdir} --split val\n"
            f"  {cli.command('predict')} --ckpt {workdir} --input PICTURE_OR_FOLDER "
            f"--output out/\n"
            f"  {run.folder}/samples.png shows image | truth | prediction; "
            f"tensorboard --logdir {workdir} the curves "
            f"(pip install '.[tensorboard]')"
        )


def choices() -> list[str]:
    """Keys, networks, data sets: what a command line can name."""
    from jaxseg import models
    from jaxseg.recipes import base

    lines = [
        f"Networks: {', '.join(models.names())}.",
        f"Data sets: {', '.join(base.NUM_CLASSES)}.",
    ]
    sections = base.recipe("esnet", "camvid").to_dict()
    for name, keys in sections.items():
        if isinstance(keys, dict):
            lines.append(f"Keys of --config.{name}: {', '.join(keys)}.")
        else:
            lines.append(f"Key: --config.{name}.")
    return lines
