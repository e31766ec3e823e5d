"""The rows of the five papers' tables, beside what is ours.

`rows.json` has the figures as they are printed. A row is named by paper, table and
method, such as `dabnet/table4/dabnet`.
"""

import difflib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jaxseg import models, weights
from jaxseg.errors import UserError
from jaxseg.models.summary import stages

_ROWS = Path(__file__).with_name("rows.json")
_CLASSES: dict[str | None, int] = {"camvid": 11}
_SERVER = "cityscapes", "test"  # whose labels are not published


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: paper/table/method.
        title: the table's.
        network, arguments: of `models.create`; None for a network that is not ours.
        dataset, split: which its accuracy is of, if any.
        figures: name -> figure; names are `miou` and the like in percent, `params_m`,
            `params_k`, and `gflops`, `fps`, `ms` with a size, height x width.
        gpu, note: what else the paper says.
        flags: of train.py, what its training does otherwise than the recipe.
    """

    name: str
    title: str
    network: str | None
    arguments: dict[str, Any]
    dataset: str | None
    split: str | None
    figures: dict[str, float]
    gpu: str = ""
    note: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure of a paper and ours.

    Attributes:
        what: its name.
        paper, ours: None where we have none.
        how: where ours is from and what differs in protocol, or why it is not there.
        command: what would give it, where it is not there.
    """

    what: str
    paper: float
    ours: float | None
    how: str
    command: str = ""

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.paper


def rows() -> list[Row]:
    """All of them, in the papers' order."""
    read = json.loads(_ROWS.read_text())
    return [Row(name=row.pop("row"), **row) for row in read]


def find(name: str) -> list[Row]:
    """The row called `name`, or all rows below it: of a table, or of a paper.

    Raises:
        UserError: there is none; the text names the nearest.
    """
    every = {row.name: row for row in rows()}
    found = [r for n, r in every.items() if n == name or n.startswith(f"{name}/")]
    if not found:
        levels = {n.rsplit("/", i)[0] for n in every for i in range(3)}
        near = difflib.get_close_matches(name, levels, 3, 0.4)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise UserError(f"there is no row {name!r}{hint}. `reproduce list` names all.")
    return found


def figures(row: Row, results: Path) -> Iterator[Figure]:
    """The row's figures beside ours.

    Sizes and work are counted. Scores are those of weights that ship, and speeds those
    of `results`, a folder of reports by benchmark.py.
    """
    for what, printed in row.figures.items():
        found = None, "not one of these five papers' networks"
        if row.network is not None:
            kind, _, size = what.partition(" ")
            found = _OURS.get(kind, _of_score)(row, kind, size, results)
        yield Figure(what, printed, *found)


def _model(row: Row) -> Any:
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in row.arguments.items()
    }
    classes = _CLASSES.get(row.dataset, 19)
    return models.create(cast(str, row.network), num_classes=classes, **arguments)


def _of_parameters(row: Row, kind: str, size: str, results: Path):
    count = sum(stage.parameters for stage in stages(_model(row), (64, 128)))
    return count / {"params_m": 1e6, "params_k": 1e3}[kind], "counted"


def _of_work(row: Row, kind: str, size: str, results: Path):
    count = sum(stage.macs for stage in stages(_model(row), _hw(size)))
    return count / 1e9, "multiply-accumulates of convolutions; papers count otherwise"


def _of_speed(row: Row, kind: str, size: str, results: Path):
    command = f"python benchmark.py --models {row.network} --sizes {size} --peers none"
    if row.arguments:
        return None, "benchmark.py times networks with their default arguments"
    for path in sorted(results.glob("*-latency.json"), reverse=True):  # GPU's first
        report = json.loads(path.read_text())
        for line in report["rows"]:
            same = (line["model"], line["size"]) == (row.network, size)
            if same and line["runtime"] == "jaxseg" and line.get("end_to_end"):
                ms, on = line["end_to_end"]["p50_ms"], report["header"]
                device = on["cpu"] if on["device"] == "cpu" else on["device"]
                how = f"{device}, {line['dtype']}, {path.name}; "
                how += f"the paper's: {row.gpu or 'a GPU'}"
                return (ms if kind == "ms" else 1e3 / ms), how
    return None, "not measured", command


def _of_score(row: Row, kind: str, size: str, results: Path):
    name = f"{row.network}-{row.dataset}"
    folder = weights.folder_of(name)
    if folder is not None and not row.arguments and kind == "miou" and not size:
        best = json.loads((folder / "run.json").read_text())["scores"]["best"]
        how = f"weights that ship as {name}; {best['protocol']}"
        if row.split not in best["protocol"].split(",")[0]:
            how += f": the paper's figure is of {row.split}"
        return 100 * best["miou"], how
    server = "; its server scores test" * ((row.dataset, row.split) == _SERVER)
    return None, f"not trained{server}", training(row)


def training(row: Row) -> str:
    """The commands that would give the row's accuracy."""
    arguments = [
        f"--config.model.{key}={_written(value)}"
        for key, value in row.arguments.items()
    ]
    changed = " ".join(map(shlex.quote, [*arguments, *row.flags]))
    run = f"runs/{row.name.replace('/', '-')}"
    train = f"python train.py --config configs/{row.network}.py:{row.dataset}"
    if row.dataset == "camvid":
        train += " --config.data.train_split=trainval"
    train = " ".join(filter(None, [train, changed, f"--workdir {run}"]))
    if (row.dataset, row.split) == _SERVER:
        return f"{train} && python eval.py --ckpt {run} --split test --submit out.zip"
    score = f"python eval.py --ckpt {run} --split {row.split or 'val'}"
    if row.dataset == "camvid":
        score += " --step last"  # the best one is chosen by pictures trained on
    return f"{train} && {score}"


def _written(value: Any) -> str:
    return f"({','.join(map(str, value))},)" if isinstance(value, list) else str(value)


def _hw(size: str) -> tuple[int, int]:
    h, w = size.split("x")
    return int(h), int(w)


_OURS = {
    "params_m": _of_parameters,
    "params_k": _of_parameters,
    "gflops": _of_work,
    "fps": _of_speed,
    "ms": _of_speed,
}
