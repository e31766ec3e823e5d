"""A run that is started, or goes on: its folder, its record, its newest checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils
from rich.console import Console

from jaxseg import checkpoints, devices
from jaxseg.errors import UserError
from jaxseg.runs import Run
from jaxseg.training.recipe import Recipe
from jaxseg.training.step import TrainState
from jaxseg.training.validation import stalled

# A checkpoint holds the state of this optimiser, and an average or none.
_FIXED = {
    "optim.name": lambda value: value,
    "train.ema_decay": lambda value: "an average" if value else "none",
}


def start(workdir: str | Path, record: dict[str, Any]) -> Run:
    """The run's folder; one process makes it before the others look."""
    if devices.is_main():
        Run.start(workdir, record)
    _meet("jaxseg run folder")
    return Run.start(workdir, record)


def changes(run: Run, config: Mapping[str, Any]) -> list[str]:
    """A sentence a value of the recipe that is not what the run was started with.

    Raises:
        UserError: the checkpoints cannot be gone on from with one of them.
    """
    was, now = (flatten_dict(c, sep=".") for c in (run.record["config"], config))
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    for key in changed:
        kept, old, new = _FIXED.get(key), was.get(key), now.get(key)
        if kept and run.has_checkpoints and kept(old) != kept(new):
            raise UserError(
                f"config.{key} is {old!r} in {run.folder} and {new!r} now, and its "
                "checkpoints hold nothing that this could go on from; set "
                f"--config.{key}={old}, or start a new run from its weights: "
                f"--init-from {run.folder} with another --workdir."
            )
    return [
        f"config.{key} was {was.get(key)!r}, is now {now.get(key)!r}."
        for key in changed
    ]


def restored(
    run: Run, state: TrainState, console: Console
) -> tuple[TrainState, dict[str, Any]] | None:
    """The state of the newest checkpoint that is whole, and what `note` said of it.

    Those that are not are set aside. None where there are no checkpoints.

    Args:
        state: one with the shapes of what is to be read.
    """
    folder = run.checkpoint_folder
    like = jax.tree.map(
        lambda x: x.update(sharding=devices.replicated()),
        jax.eval_shape(items_of, state),
    )
    bad = []

    def attempt(step: int) -> dict[str, Any]:
        try:
            checkpoints.score_of(folder, step)
            return checkpoints.read(folder, step, like)
        except checkpoints.Damaged:
            bad.append(step)
            raise

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    steps = checkpoints.steps_in(folder)[::-1]
    found = checkpoints.newest_good(folder, steps, attempt, say)
    if found is None:
        return None
    step, items = found
    # Orbax cannot open a folder that holds one whose score it cannot read.
    bad += [older for older in steps if older < step and _is_damaged(folder, older)]
    if devices.is_main():
        checkpoints.set_aside(folder, bad)
    _meet("jaxseg checkpoints set aside")
    optimizer, variables = items["optimizer"], items["variables"]
    average = None
    if "trained" in optimizer:
        average, variables = variables, optimizer.pop("trained")
    state = TrainState(**optimizer, **variables, average=average)
    return state, checkpoints.about(folder, step)


def _is_damaged(folder: Path, step: int) -> bool:
    try:
        checkpoints.score_of(folder, step)
        checkpoints.about(folder, step)
    except checkpoints.Damaged:
        return True
    return False


def is_finished(run: Run, recipe: Recipe, step: int, console: Console) -> bool:
    """Whether nothing is left to do after `step`; then it says so."""
    last, epochs = recipe.last_step, recipe.settings.num_epochs
    scored = checkpoints.score_of(run.checkpoint_folder, step) is not None
    ended = scored and stalled(run, recipe, step)
    if not ended and (
        step < last or (step == last and recipe.is_due(step) and not scored)
    ):
        return False
    epoch, _ = recipe.place(step)
    why = "it is finished"
    if step > last:
        why = f"this recipe ends before, at step {last}"
    elif last == recipe.settings.max_steps:
        why = "config.train.max_steps ends it there"
    elif step < last:
        why = "config.train.patience ends it there"
    console.print(
        f"Nothing was done: the run is at epoch {epoch} of {epochs}, step {step}, and "
        f"{why}. It goes on with more of them (--config.train.num_epochs, max_steps).",
        soft_wrap=True,
    )
    return True


def check_init_from(run: Run, init_from: str | None, console: Console) -> None:
    """Says that a run which goes on does not start from `init_from` again.

    Raises:
        UserError: the run there did not start from it.
    """
    if not init_from or not run.has_checkpoints:
        return
    was = run.record.get("init_from")
    if was != init_from:
        began = f"started from {was}" if was else "started from drawn weights"
        raise UserError(
            f"--init-from {init_from} is for a new run, and {run.folder} holds the "
            f"checkpoints of one that {began}: choose another --workdir, or leave "
            "--init-from out to go on with that one."
        )
    console.print(
        f"--init-from {init_from} was for the start; the run goes on from its own "
        "newest checkpoint.",
        soft_wrap=True,
    )


def keep_changes(
    run: Run, record: Mapping[str, Any], lines: list[str], console: Console
) -> None:
    """Says what is not as the run was started with, and writes it to `run.json`."""
    for line in lines:
        console.print(line, soft_wrap=True)
    changed = bool(lines)
    run.record["config"] = record["config"]
    if not run.has_checkpoints and run.record.get("init_from") != record["init_from"]:
        run.record["init_from"], changed = record["init_from"], True
    if changed:
        run.save_record()


def note(recipe: Recipe) -> dict[str, Any]:
    """What a checkpoint says beside its arrays: how its steps make up epochs."""
    return {
        "offset": recipe.offset,
        "steps_per_epoch": recipe.steps_per_epoch,
        "batch_size": recipe.settings.batch_size,
    }


def offset_of(
    step: int, about: Mapping[str, Any], was: Mapping[str, Any], recipe: Recipe
) -> int:
    """The offset with which `recipe` goes on from `step` of a run in the right epoch.

    Args:
        about: what `note` returned when the checkpoint was written; an older jaxseg
            wrote nothing.
        was: the recipe of then, from the run's record.
    """
    samples = recipe.steps_per_epoch * recipe.settings.batch_size
    batch = about.get("batch_size", was["train"]["batch_size"])
    per_epoch = about.get("steps_per_epoch", max(samples // batch, 1))
    offset = about.get("offset", 0)
    if (per_epoch, batch) == (recipe.steps_per_epoch, recipe.settings.batch_size):
        return offset
    epoch, position = divmod(step + offset, per_epoch)
    # The order of an epoch's pictures does not depend on the batch size.
    position = position * batch // recipe.settings.batch_size
    position = min(position, recipe.steps_per_epoch - 1)
    return epoch * recipe.steps_per_epoch + position - step


def items_of(state: TrainState) -> dict[str, Any]:
    """A checkpoint's two items: what the network needs, and what training needs too."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    if state.average is not None:
        optimizer["trained"] = state.trained
    return {"variables": state.variables, "optimizer": optimizer}


def _meet(where: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)
