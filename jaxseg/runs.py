"""A run folder: `run.json` explains it, `checkpoints/` holds its weights.

Nothing in a run folder is executed or unpickled. `run.json` names the network and its
arguments, the classes, the preprocessing, the recipe, versions and scores; Orbax writes
a checkpoint beside the others and renames it when it is whole.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import linen as nn
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from jaxseg import devices, models
from jaxseg.data.classes import ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError

FORMAT = 1
_RECORD, _CHECKPOINTS = "run.json", "checkpoints"


def describe(
    model: Mapping[str, Any],
    table: ClassTable,
    preprocess: Preprocess,
    config: Mapping[str, Any],
    init_from: str | None = None,
) -> dict[str, Any]:
    """What `run.json` holds when a run starts; `model` is `create`'s arguments."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "format": FORMAT,
        "model": dict(model),
        "classes": asdict(table),
        "preprocess": asdict(preprocess),
        "config": json.loads(json.dumps(config)),
        "init_from": init_from,
        "versions": {name: metadata.version(name) for name in packages},
        "device": jax.devices()[0].device_kind,
        "scores": {},
    }


class Run:
    """A run folder that is there; make one with `Run.start`."""

    def __init__(self, folder: str | os.PathLike) -> None:
        """Opens `folder`.

        Raises:
            UserError: it is no run folder, or its `run.json` cannot be read.
        """
        self.folder = Path(folder)
        path = self.folder / _RECORD
        if not path.is_file():
            raise UserError(
                f"{folder} is not a run: there is no {_RECORD} in it; give the folder "
                "that train.py wrote (its --workdir)."
            )
        try:
            self.record = json.loads(path.read_text())
            classes = self.record["classes"]
            self.table = ClassTable(
                tuple(classes["names"]),
                tuple(map(tuple, classes["palette"])),
                tuple(classes.setdefault("categories", [])),
            )
            self.preprocess = Preprocess(
                **{
                    k: tuple(v) if isinstance(v, list) else v
                    for k, v in self.record["preprocess"].items()
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error!r}); restore it.") from error
        if self.record.get("format") != FORMAT:
            raise UserError(
                f"{path} has format {self.record.get('format')}, this jaxseg reads "
                f"{FORMAT}; use the version that wrote it."
            )

    @classmethod
    def start(cls, folder: str | os.PathLike, record: Mapping[str, Any]) -> "Run":
        """Opens the run in `folder`, or starts one that `record` explains.

        Raises:
            UserError: the run there is of another network or other classes, or
                `folder` cannot be written to.
        """
        folder = Path(folder)
        if (folder / _RECORD).is_file():
            run = cls(folder)
            for key, what in (("model", "network"), ("classes", "class table")):
                _refuse_change(folder, what, run.record[key], record[key])
            was, now = (
                {"name": r["config"].get("data", {}).get("name")}
                for r in (run.record, record)
            )
            _refuse_change(folder, "data set", was, now)
            return run
        if not devices.is_main():
            raise UserError(
                f"process {jax.process_index()} does not see {folder}; --workdir must "
                "be a folder that all machines share."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_json(folder / _RECORD, record)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written to ({error.strerror}); choose another "
                "--workdir."
            ) from error
        return cls(folder)

    def model(self) -> nn.Module:
        """The network, without weights."""
        return models.create(**self.record["model"])

    def save_record(self) -> None:
        """Writes `record` back to `run.json`, whole or not at all."""
        if devices.is_main():
            _write_json(self.folder / _RECORD, self.record)

    def checkpoints(self, keep: int = 1, read_only: bool = False) -> "Checkpoints":
        """Its checkpoints; see `Checkpoints`."""
        return Checkpoints(self.folder / _CHECKPOINTS, keep, read_only)

    def variables(self, which: str | int = "best") -> tuple[dict[str, Any], int]:
        """`{"params", "batch_stats"}` of a checkpoint, and its step.

        Args:
            which: `best` by validation mean IoU (the newest if none was scored),
                `last`, or a step.

        Raises:
            UserError: there is no such checkpoint, or it cannot be read.
        """
        with self.checkpoints(read_only=True) as checkpoints:
            step = checkpoints.find(which)
            side = models.SIZE_LEAST
            image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
            model = self.model()
            like = jax.eval_shape(
                lambda x: model.init(jax.random.key(0), x, train=False), image
            )
            here = SingleDeviceSharding(jax.local_devices()[0])
            like = jax.tree.map(lambda x: x.update(sharding=here), like)
            return checkpoints.restore(step, {"variables": like})["variables"], step


class Checkpoints:
    """Orbax checkpoints of one run: the newest `keep` and the best one.

    Writing is asynchronous: `save` copies the arrays and returns. A checkpoint that was
    not written to its end is never listed. `close` waits for what is being written.
    """

    def __init__(self, folder: Path, keep: int, read_only: bool) -> None:
        # Orbax logs every decision, and failures as tracebacks; `_guard` reports them.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._folder, self._failed = folder.resolve(), False
        if read_only and not self._folder.is_dir():
            raise UserError(f"{folder.parent} holds no finished checkpoint yet.")
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics["miou"],
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        policy = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda metrics: metrics["miou"],
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                create=not read_only,
            ),
            item_names=("variables", "optimizer"),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def latest(self) -> int | None:
        """The newest finished step, or None."""
        return self._manager.latest_step()

    def find(self, which: str | int) -> int:
        """The step that `best`, `last` or a number names; see `Run.variables`."""
        steps = sorted(self._manager.all_steps())
        if not steps:
            raise UserError(
                f"{self._folder.parent} holds no finished checkpoint; if training was "
                "stopped before the first one was written, start it again."
            )
        if which == "last":
            return steps[-1]
        if which == "best":
            best = self._manager.best_step()
            return steps[-1] if best is None else best
        if which not in steps:
            raise UserError(
                f"{self._folder.parent} has no checkpoint of step {which}; it has "
                f"{', '.join(map(str, steps))}."
            )
        return int(which)

    def is_scored(self, step: int) -> bool:
        """Whether the checkpoint of `step` was saved with a score."""
        return self._manager.metrics(step) is not None

    def delete(self, step: int) -> None:
        """Removes the checkpoint of `step`."""
        self._guard(lambda: self._manager.delete(step))

    def save(self, step: int, items: Mapping[str, Any], miou: float | None) -> None:
        """Starts to write `items`; `miou` marks the checkpoint as scored."""
        self._guard(
            lambda: self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{k: ocp.args.StandardSave(v) for k, v in items.items()}
                ),
                metrics=None if miou is None else {"miou": miou},
            )
        )

    def restore(self, step: int, like: Mapping[str, Any]) -> dict[str, Any]:
        """The items named in `like`, with its shapes and dtypes."""
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    **{k: ocp.args.StandardRestore(v) for k, v in like.items()}
                ),
            )
        except Exception as error:  # Orbax and TensorStore raise many kinds.
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(
                f"checkpoint {self._folder / str(step)} cannot be read ({reason}); "
                "remove that folder to go on from the one before it."
            ) from error
        return {name: restored[name] for name in like}

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._guard(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        # After a failed write Orbax's own closing fails, in threads, with tracebacks.
        if not self._failed:
            self._guard(self._manager.close)

    def _guard(self, action) -> None:
        try:
            action()
        except Exception as error:  # TensorStore's ENOSPC is a ValueError.
            self._failed = True
            reason = str(error).strip().splitlines()[0][:200]
            newest = self._manager.latest_step()
            kept = "there is none yet" if newest is None else f"step {newest} is whole"
            raise UserError(
                f"a checkpoint could not be written to {self._folder} ({reason}); the "
                f"checkpoints before it are untouched ({kept}). Free some space and "
                "run the same command again."
            ) from error


def _refuse_change(folder: Path, what: str, was: Mapping, now: Mapping) -> None:
    now = json.loads(json.dumps(now))
    if was != now:
        raise UserError(
            f"{folder} was trained with another {what}: {_difference(was, now)}; "
            "choose another --workdir or remove that folder."
        )


def _difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    key = keys[0]
    if isinstance(was.get(key), list) and isinstance(now.get(key), list):
        return f"{len(was[key])} {key} there, {len(now[key])} in this config"
    return f"{key} is {was.get(key)!r} there and {now.get(key)!r} in this config"


def _write_json(path: Path, value: Any) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(value, indent=2) + "\n")
    unfinished.replace(path)
