"""python -m tools.exports: every network in every format, for results/export.md.

The shipped weights leave at CamVid's size, in every format that this machine has, and
are scored there where the data are (--data-dir); every network leaves with drawn
weights at 64x128, as logits, so that their differences are seen too. Formats that are
not installed are rows that say so. About ten minutes on two cores.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from jaxseg import models, runtime, weights
from jaxseg.benchmark.latency import header_of_machine
from jaxseg.benchmark.workload import draw_weights
from jaxseg.deploy.formats import FORMATS
from jaxseg.errors import UserError
from jaxseg.evaluation.agreement import Unequal
from jaxseg.evaluation.export import export_run
from jaxseg.evaluation.exported import score_export
from jaxseg.runs import Run

RESULT = Path(__file__).resolve().parents[1] / "results" / "export.md"
SHIPPED, SHIPPED_HW = "liteseg_mobilenet-camvid", (360, 480)
SMALL_HW = (64, 128)
# JAX and TensorFlow take minutes for it on a CPU, and run one and the same program.
SCORED = ("onnx", "tflite", "openvino")


def drawn_run(folder: Path, name: str) -> Path:
    """A run of network `name` with drawn weights, as if of the drawn scenes."""
    record = dict(Run(SHIPPED).record)
    record.pop("weights")
    record["model"] = {"name": name, "num_classes": 11}
    record["scores"] = {"best": {"step": 0}}
    model = models.create(**record["model"])
    weights.write(folder / name, record, draw_weights(model), halved=False)
    return folder / name


def row(
    ckpt: str | Path, kind: str, to: Path, data_dir: str | None, how: str = ""
) -> list[str]:
    """Cells of a row; a failure is a row that says so.

    Args:
        how: "int8", or "any" for open height and width.
    """
    shipped, int8 = ckpt == SHIPPED, how == "int8"
    fixed, output = (SHIPPED_HW, "labels") if shipped else (SMALL_HW, "logits")
    hw = None if how == "any" else fixed
    name = SHIPPED if shipped else Path(ckpt).name
    size = f"{hw[0]}x{hw[1]}" if hw else "any"
    cells = [name, size, f"{kind}, int8" if int8 else kind]
    calibrate = f"{data_dir}/train" if int8 else None
    try:
        report = export_run(
            ckpt,
            kind,
            hw,
            to,
            output=output,
            calibrate=calibrate,
            data_dir=data_dir if shipped else None,
        )
        score = "—"
        if shipped and data_dir and kind in SCORED:
            score = f"{100 * score_export(to, 'val', data_dir)['miou']:.3f}"
    except (UserError, Unequal) as error:
        return [*cells, f"not exported: {error}", *"—————"]
    check: dict[str, Any] = report["check"]
    difference = "—"
    if "largest_difference" in check:
        relative = check["largest_difference"] / check["largest_logit"]
        difference = f"{check['largest_difference']:.1e} ({relative:.1e})"
    return [
        *cells,
        check["engine"],
        f"{100 * check['equal_labels']:.4f}",
        difference,
        score,
        f"{report['bytes'] / 1e6:.2f}",
        f"{check['latency_ms']:.1f}",
    ]


def markdown(rows: list[list[str]], command: str) -> str:
    """The page, from the cells of its rows."""
    titles = ["network", "size", "format", "engine", "equal labels %"]
    titles += ["largest difference of logits (of the largest logit)"]
    titles += ["mean IoU %", "MB", "ms"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (titles, ["---"] * 9, *rows)]
    wanted = Run(SHIPPED).record["scores"]["best"]
    machine = "{cpu}, {cores} cores".format(**header_of_machine())
    text = f"""\
# Exports

Made by `{command}` ({machine}). Every row is an export
that was run by its own engine in a fresh process and compared with the network as it
was trained: eight pictures, one a call. *ms* is the median of five calls, one after the
other, while other programs may have used the machine: an order of magnitude, not a
comparison (that is [cpu-latency.md](cpu-latency.md)). Networks at
{SMALL_HW[0]}x{SMALL_HW[1]} have drawn weights and leave as logits, the shipped ones as
labels. *mean IoU* is of the whole validation split by the exported file; in training,
before its parameters became float16, the run had {100 * wanted["miou"]:.3f}. int8 was
calibrated with 64 training pictures.

"""
    return text + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.exports")
    parser.add_argument("--data-dir", help="where CamVid lies")
    options = parser.parse_args()
    runtime.setup()
    rows = []
    command = "python -m tools.exports"
    command += " --data-dir PATH" if options.data_dir else ""
    with tempfile.TemporaryDirectory(prefix="exports-") as name:
        folder = Path(name)
        runs = [SHIPPED, *(drawn_run(folder, name) for name in models.names())]
        for number, ckpt in enumerate(runs):
            kinds = [(kind, "") for kind in FORMATS]
            if ckpt == SHIPPED:
                kinds += [(kind, "any") for kind in FORMATS if FORMATS[kind].open_hw]
            if ckpt == SHIPPED and options.data_dir:
                kinds += [(kind, "int8") for kind in FORMATS if FORMATS[kind].int8]
            for kind, how in kinds:
                to = folder / f"{number}-{kind}-{how}"
                rows.append(row(ckpt, kind, to, options.data_dir, how))
                print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
                # After every row: whoever stops it has the rows until then.
                RESULT.write_text(markdown(rows, command))


if __name__ == "__main__":
    main()
