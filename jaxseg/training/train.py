"""Training: from a config and a folder to a run."""

from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from jaxseg import devices
from jaxseg.data.check import check_quickly
from jaxseg.errors import UserError, call_with_section
from jaxseg.runs import Run, describe
from jaxseg.training import resume
from jaxseg.training.journal import Journal, Silence
from jaxseg.training.loop import Trainer
from jaxseg.training.recipe import VALIDATION_SPLIT, build, open_data
from jaxseg.training.step import init_state, state_of
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
    (on the same machine and versions), as if it had not been killed. SIGTERM makes it
    save and return. Where `jax.distributed` was initialised, all processes call this
    with the same arguments and a `workdir` that they share.

    Args:
        init_from, init_partial: what a new run's weights come from; see `transfer`.

    Returns:
        The run, and whether training came to its end.

    Raises:
        UserError: for anything that the user can mend; see its text.
    """
    console = console or Console(highlight=False)
    console.quiet = console.quiet or not devices.is_main()
    data = call_with_section(open_data, "data", config.data)
    check_quickly(data.source, (data.train_split, VALIDATION_SPLIT))
    samples = len(data.source.ids(data.train_split))
    if not config.model.num_classes:  # a folder of the user's own
        config.model.num_classes = len(data.source.table)
    recipe = build(config, samples, len(data.source.table))
    table, sections = data.source.table, config.to_dict()
    record = describe(config.model, table, recipe.preprocess, sections, init_from)
    run = resume.start(workdir, record)
    resume.note_changes(run, record, console)
    for remark in data.source.remarks(data.train_split):
        console.print(remark)
    # Both are read before the first step: what is wrong with them shows now.
    console.print(
        f"{len(data.train.ids)} to train on, {len(data.val.ids)} to validate."
    )
    try:
        with (
            run.checkpoints(recipe.settings.keep_checkpoints) as checkpoints,
            StopSignal() as stop,
        ):
            decay = recipe.settings.ema_decay
            state = init_state(recipe.model, recipe.tx, recipe.seed, (64, 64), decay)
            if init_from and checkpoints.latest() is None:
                name = config.model.name
                loaded = transfer(name, state.trained, init_from, init_partial, console)
                state = state_of(loaded, recipe.tx, decay)
            state = resume.resumed(devices.replicate(state), checkpoints, console)
            writes = devices.is_main()
            with (
                Journal(run.folder, int(state.step)) if writes else Silence() as journal
            ):
                validate = Validation(recipe, data, run, journal, console)
                trainer = Trainer(recipe, data, validate, checkpoints, journal, console)
                return run, trainer.fit(state, stop)
    except OSError as error:
        raise UserError(
            f"{error.filename or run.folder}: {error.strerror or error}. Mend that "
            f"(free some space?) and run the same command again: it goes on from the "
            "newest checkpoint."
        ) from error
