"""A run that is started, or goes on: its folder, its record, its newest checkpoint."""

from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils
from rich.console import Console

from jaxseg import devices
from jaxseg.runs import Checkpoints, Run
from jaxseg.training.step import TrainState


def start(workdir: str | Path, record: dict[str, Any]) -> Run:
    """The run's folder; one process makes it before the others look."""
    if devices.is_main():
        Run.start(workdir, record)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("jaxseg run folder")
    return Run.start(workdir, record)


def note_changes(run: Run, record: dict[str, Any], console: Console) -> None:
    """Says which values of the recipe are not those that the run was started with."""
    was, now = (flatten_dict(r["config"], sep=".") for r in (run.record, record))
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    for key in changed:
        console.print(f"config.{key} was {was.get(key)!r}, is now {now.get(key)!r}.")
    if changed:
        run.record["config"] = record["config"]
        run.save_record()


def resumed(state: TrainState, checkpoints: Checkpoints, console: Console):
    latest = checkpoints.latest()
    if latest is None:
        return state
    like = jax.tree.map(
        lambda x: x.update(sharding=devices.replicated()),
        jax.eval_shape(items_of, state),
    )
    items = checkpoints.restore(latest, like)
    console.print(f"Going on from step {latest}.")
    optimizer, variables = items["optimizer"], items["variables"]
    if "trained" in optimizer:
        trained = optimizer.pop("trained")
        return TrainState(**optimizer, **trained, average=variables)
    return TrainState(**optimizer, **variables)


def items_of(state: TrainState) -> dict[str, Any]:
    """A checkpoint's two items: what the network needs, and what training needs too."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    if state.average is not None:
        optimizer["trained"] = state.trained
    return {"variables": state.variables, "optimizer": optimizer}
