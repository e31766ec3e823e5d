"""The data that a run is scored on: where they lie, and whether they are its own."""

from pathlib import Path

from jaxseg.data.classes import ClassTable
from jaxseg.data.sources import Source, data_folder, open_source
from jaxseg.errors import UserError
from jaxseg.runs import Run


def source_of(run: Run, data_dir: str | None = None) -> Source:
    """The data set that `run` was trained on, from `data_dir` if it lies there now.

    Raises:
        UserError: it is not there, or its classes are not those of the run.
    """
    data = run.record["config"]["data"]
    return open_trained_on(run.folder, data["name"], data["dir"], run.table, data_dir)


def open_trained_on(
    what: Path, name: str, lay: str, table: ClassTable, data_dir: str | None
) -> Source:
    """The data set that `what` was trained on, a run or an export of one.

    Args:
        name: the data set's, one of `SOURCES`.
        lay: its folder in training, "" where it is looked for by itself.
        table: the classes in training.
        data_dir: the folder where it lies now, if that is another one.

    Raises:
        UserError: it is not there, or its classes are not those of the training.
    """
    if name == "streets":  # drawn, wherever one looks
        return open_source(name)
    where = lay if data_dir is None else data_dir
    folder = data_folder(name, where)
    if data_dir is None and not folder.exists():
        raise UserError(
            f"{what} was trained on {name} in {folder}, which is not there; say "
            "where the data lie now with --data-dir."
        )
    source = open_source(name, where)
    was, now = table.names, source.table.names
    if was != now:
        raise UserError(
            f"{what} was trained on other classes than {folder} has: "
            f"{_difference(was, now)}. Scores would mean nothing; put back the "
            "description of the classes that it was trained with, or give the folder "
            "that has it with --data-dir."
        )
    return source


def _difference(was: tuple[str, ...], now: tuple[str, ...]) -> str:
    if set(was) == set(now):
        at = next(i for i, (a, b) in enumerate(zip(was, now)) if a != b)
        return f"class {at} is {was[at]!r} in the run and {now[at]!r} there"
    gone = [name for name in was if name not in now]
    new = [name for name in now if name not in was]
    parts = [f"{', '.join(map(repr, gone))} is missing there"] if gone else []
    parts += [f"{', '.join(map(repr, new))} is new there"] if new else []
    return " and ".join(parts) or f"{len(was)} in the run, {len(now)} there"
