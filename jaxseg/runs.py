"""A run folder: `run.json` explains it, `checkpoints/` holds its weights, and
`MODEL_CARD.md` tells people.

Nothing in a run folder is executed or unpickled. `run.json` names the network and its
arguments, the classes, the preprocessing, the recipe, versions and scores.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import SingleDeviceSharding

from jaxseg import card, checkpoints, devices, models, weights
from jaxseg.data.classes import ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError
from jaxseg.files import write_whole

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
        "model": {k: v for k, v in model.items() if v is not None},
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
        if not self.folder.exists():
            self.folder = weights.folder_of(str(folder)) or self.folder
        path = self.folder / _RECORD
        if not path.is_file():
            shipped = ", ".join(weights.names())
            raise UserError(
                f"{folder} is not a run: there is no {_RECORD} in it; give the folder "
                "that train.py wrote (its --workdir)"
                + (
                    f", or the name of weights that ship: {shipped}."
                    if shipped
                    else "."
                )
            )
        try:
            self.record = json.loads(path.read_text())
            classes = self.record["classes"]
            self.table = ClassTable(
                tuple(classes["names"]),
                tuple(map(tuple, classes["palette"])),
                tuple(classes.setdefault("categories", [])),
                # Runs of version 0.1 do not say.
                tuple(classes.setdefault("values", None) or ()),
            )
            preprocess: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v
                for k, v in self.record["preprocess"].items()
            }
            self.preprocess = Preprocess(**preprocess)
        except (
            *(ValueError, KeyError, TypeError, AttributeError),
            *(OSError, RecursionError),
        ) as error:
            raise UserError(f"{path} is damaged ({error!r}); restore it.") from error
        if self.record.get("format") != FORMAT:
            raise UserError(
                f"{path} has format {self.record.get('format')}, this jaxseg reads "
                f"{FORMAT}; use the version that wrote it."
            )
        try:
            self.model()
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} names a network that there is not ({error}); restore it."
            ) from error

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
            if "weights" in run.record:
                raise UserError(
                    f"{folder} holds weights and no training that could go on; start "
                    f"from them: --init-from {folder} with another --workdir."
                )
            if run.record["classes"]["values"] is None:
                run.record["classes"]["values"] = record["classes"]["values"]
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
            _write_record(folder, record)
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
        """Writes `record` back to `run.json`, whole or not at all, and a model card."""
        if devices.is_main():
            _write_record(self.folder, self.record)

    @property
    def checkpoint_folder(self) -> Path:
        """The folder of its checkpoints; see `jaxseg.checkpoints`."""
        return self.folder / _CHECKPOINTS

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is a finished one."""
        return bool(checkpoints.steps_in(self.checkpoint_folder))

    def find(self, which: str | int) -> list[int]:
        """Steps to try for `best`, `last` or a number, in this order."""
        steps = checkpoints.steps_in(self.checkpoint_folder)
        if not steps:
            raise UserError(
                f"{self.folder} holds no finished checkpoint; if training was stopped "
                "before the first one was written, start it again."
            )
        if which not in ("best", "last"):
            if which not in steps:
                raise UserError(
                    f"{self.folder} has no checkpoint of step {which}; it has "
                    f"{', '.join(map(str, steps))}."
                )
            return [int(which)]
        newest_first = steps[::-1]
        scores = {step: self._score(step) for step in newest_first}
        scored = {step: x for step, x in scores.items() if x is not None}
        if which == "last" or not scored:
            return newest_first
        best = max(scored, key=scored.__getitem__)  # the newest of equals
        return [best, *(step for step in newest_first if step != best)]

    def _score(self, step: int) -> float | None:
        try:
            score = checkpoints.score_of(self.checkpoint_folder, step)
        except checkpoints.Damaged as error:
            _warn(f"The checkpoint of step {step}: {error}; it is taken as unscored.")
            return None
        return None if score is None or np.isnan(score) else score

    def variables(self, which: str | int = "best") -> tuple[dict[str, Any], int]:
        """`{"params", "batch_stats"}` of a checkpoint, and its step.

        Where the checkpoint is damaged, the newest one that is whole is taken, and a
        line on standard error says so.

        Args:
            which: `best` by validation mean IoU (the newest if none was scored),
                `last`, or a step, for which no other is taken.

        Raises:
            UserError: there is no such checkpoint, or none that can be read.
        """
        if "weights" in self.record:
            step = self.record["scores"]["best"]["step"]
            if which not in ("best", "last", step):
                raise UserError(f"{self.folder.name} ships as step {step} alone.")
            return weights.read(self.folder, self.record["weights"]["sha256"]), step
        steps = self.find(which)
        side = models.SIZE_LEAST
        image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
        model = self.model()
        like = jax.eval_shape(
            lambda x: model.init(jax.random.key(0), x, train=False), image
        )
        here = SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: x.update(sharding=here), like)

        def attempt(step: int) -> dict[str, Any]:
            return checkpoints.read(self.checkpoint_folder, step, {"variables": like})

        found = checkpoints.newest_good(self.checkpoint_folder, steps, attempt, _warn)
        step, items = cast(tuple[int, Any], found)  # of one step at least
        return items["variables"], step


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _refuse_change(folder: Path, what: str, was: Mapping, now: Mapping) -> None:
    now = json.loads(json.dumps(now))
    if was != now:
        raise UserError(
            f"{folder} was trained with another {what}: {_difference(was, now)}; "
            "choose another --workdir."
        )


def _difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    key = keys[0]
    if isinstance(was.get(key), list) and isinstance(now.get(key), list):
        return f"{len(was[key])} {key} there, {len(now[key])} in this config"
    return f"{key} is {was.get(key)!r} there and {now.get(key)!r} in this config"


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    write_whole(folder / _RECORD, json.dumps(record, indent=2) + "\n")
    write_whole(folder / card.NAME, card.card_of_run(record))
