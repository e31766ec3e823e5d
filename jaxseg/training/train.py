"""Training: from a config and a folder to a run."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from jaxseg import devices
from jaxseg.checkpoints import Checkpoints
from jaxseg.data.check import check_quickly
from jaxseg.errors import UserError, call_with_section
from jaxseg.lock import owned
from jaxseg.runs import Run, describe
from jaxseg.training import resume
from jaxseg.training.journal import Journal, Silence
from jaxseg.training.loop import Trainer
from jaxseg.training.rate import epochs_in
from jaxseg.training.recipe import (
    VALIDATION_SPLIT,
    Data,
    Recipe,
    build,
    fit_to_data,
    open_data,
)
from jaxseg.training.step import TrainState, init_state, state_of, state_shapes
from jaxseg.training.stopping import StopSignal
from jaxseg.training.transfer import transfer
from jaxseg.training.validation import Validation


def train(
    config: ConfigDict,
    workdir: str | Path,
    console: Console | None = None,
    init_from: str | None = None,
    init_partial: bool = False,
) -> tuple[Run, bool]:
    """Trains what `config` describes in `workdir`, or goes on where it stopped.

    Killed at any moment and started again, it ends with the same weights, bit for bit
    (on the same machine and versions), as if it had not been killed. SIGTERM, SIGHUP
    and Ctrl-C make it save and return. Where `jax.distributed` was initialised, all
    processes call this with the same arguments and a `workdir` that they share.

    Args:
        init_from, init_partial: what a new run's weights come from; see `transfer`.

    Returns:
        The run, and whether training came to its end.

    Raises:
        UserError: for anything that the user can mend; see its text.
        KeyboardInterrupt: Ctrl-C was pressed; what was trained is saved.
    """
    # Names of files and classes may have brackets.
    console = console or Console(highlight=False, markup=False)
    console.quiet = console.quiet or not devices.is_main()
    data = call_with_section(open_data, "data", config.data)
    check_quickly(data.source, (data.train_split, VALIDATION_SPLIT))
    for line in fit_to_data(config, data.source):
        console.print(line, soft_wrap=True)
    samples, table = len(data.source.ids(data.train_split)), data.source.table
    recipe = build(config, samples, len(table))
    folder = Path(workdir)
    if recipe.settings.minutes:
        config.train.num_epochs = _epochs(folder, recipe, data, console)
        recipe = build(config, samples, len(table))
    sections = config.to_dict()
    record = describe(config.model, table, recipe.preprocess, sections, init_from)
    try:
        with owned(folder) if devices.is_main() else nullcontext():
            run = resume.start(folder, record)
            begun = _begin(recipe, samples, run, record, config, init_partial, console)
            if begun is None:
                return run, True
            recipe, state = begun
            return run, _fit(recipe, data, run, devices.replicate(state), console)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: {error.strerror or error}. Mend that "
            f"(free some space?) and run the same command again: it goes on from the "
            "newest checkpoint."
        ) from error


def _epochs(folder: Path, recipe: Recipe, data: Data, console: Console) -> int:
    """Epochs that fit `config.train.minutes`; of a run that began, those of then."""
    minutes = recipe.settings.minutes
    if (folder / "run.json").is_file():
        began = Run(folder).record["config"].get("train", {})
        if began.get("minutes") == minutes:
            return began["num_epochs"]
    console.print(f"Measuring how many epochs fit {minutes:g} minutes.")
    epochs, rate = epochs_in(minutes, recipe, data)
    console.print(f"{rate:.1f} images/s: {epochs} epochs.")
    return epochs


def _begin(
    recipe: Recipe,
    samples: int,
    run: Run,
    record: Mapping[str, Any],
    config: ConfigDict,
    init_partial: bool,
    console: Console,
) -> tuple[Recipe, TrainState] | None:
    """What training begins with, or goes on with; None where nothing is left to do."""
    lines = resume.changes(run, record["config"])
    resume.check_init_from(run, record["init_from"], console)
    decay = recipe.settings.ema_decay
    shapes = state_shapes(recipe.model, recipe.tx, decay)
    found = resume.restored(run, shapes, console)
    if found is None:
        state = init_state(recipe.model, recipe.tx, recipe.seed, (64, 64), decay)
        if record["init_from"]:
            source = record["init_from"], init_partial, console
            loaded = transfer(config.model.name, state.trained, *source)
            state = state_of(loaded, recipe.tx, decay)
    else:
        state, about = found
        step, was = int(state.step), run.record["config"]
        offset = resume.offset_of(step, about, was, recipe)
        if offset:
            recipe = build(config, samples, len(run.table), offset)
        if resume.is_finished(run, recipe, step, console):
            return None
        epoch, position = recipe.place(step)
        console.print(
            f"Going on from step {step}: epoch {epoch + 1}, batch {position + 1} of "
            f"{recipe.steps_per_epoch}."
        )
    resume.keep_changes(run, record, lines, console)
    return recipe, state


def _fit(
    recipe: Recipe, data: Data, run: Run, state: TrainState, console: Console
) -> bool:
    """Trains to the end; False if a signal stopped it before."""
    for remark in data.source.remarks(data.train_split):
        console.print(remark, soft_wrap=True)
    # Both are read before the first step: what is wrong with them shows now.
    console.print(
        f"{len(data.train.ids)} to train on, {len(data.val.ids)} to validate."
    )
    keep = recipe.settings.keep_checkpoints
    with (
        Checkpoints(run.checkpoint_folder, keep) as checkpoints,
        StopSignal() as stop,
        Journal(run.folder, int(state.step)) if devices.is_main() else Silence() as log,
    ):
        validate = Validation(recipe, data, run, log, console)
        trainer = Trainer(recipe, data, validate, checkpoints, log, console)
        finished = trainer.fit(state, stop)
    if stop.interrupted:
        raise KeyboardInterrupt
    return finished
