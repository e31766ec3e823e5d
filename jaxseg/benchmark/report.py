"""The benchmark's report: JSON for programs, Markdown and a picture for people."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxseg.benchmark.runtimes import OURS
from jaxseg.errors import UserError
from jaxseg.files import write_whole

_READING = """\
End to end is from uint8 pixels in host memory to uint8 labels in host memory; network
only from pixels on the device to logits on the device. Percentiles in ms are medians
over the processes of a row; `*` marks a row that other processes of the machine
disturbed throughout. Compile is from the loaded library to the first label map. Peak
memory is the process's (on a GPU the device's). Labels are compared with the network's
as it was trained. Arithmetic and memory are shares of what this machine reached in a
matrix product of that dtype and in a triad; bytes are by XLA's count, which knows no
caches. What was published was measured elsewhere and is no comparison.
"""

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], Any]]


def write(report: dict[str, Any], stem: Path) -> None:
    """Writes `stem`.json and `stem`.md; raises `UserError` where that cannot be."""
    _write(stem, ".json", json.dumps(report, indent=1))
    _write(stem, ".md", markdown(report))


def check_folder(stem: Path) -> None:
    """Raises `UserError` where no report can be written to, before hours go into it."""
    _write(stem, ".try", "")
    stem.with_name(stem.name + ".try").unlink()


def _write(stem: Path, suffix: str, content: str | bytes) -> None:
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_whole(stem.with_name(stem.name + suffix), content)
    except OSError as error:
        raise UserError(
            f"{stem}{suffix} cannot be written ({error.strerror}); free some space, or "
            "choose another --output."
        ) from error


def markdown(report: dict[str, Any]) -> str:
    """The whole report as text."""
    header = report["header"]
    lines = [f"# Latency on {device(report)}, {header['date']}", "", _READING]
    for key, value in {**header, **report["ceilings"]}.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v or 'not installed'}" for k, v in value.items())
        if value is not None and key != "date":
            lines.append(f"- {key.replace('_', ' ')}: {_text(value)}")
    for title, rows in groups(report["rows"]).items():
        lines += ["", f"## {title}", "", "End to end:", "", *_table(rows, END_TO_END)]
        lines += ["", "Network only:", "", *_table(rows, NETWORK)]
    rows = done(report["rows"])
    settings = {f"{r['runtime']}, {r['dtype']}": r["settings"] for r in rows}
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {text}" for name, text in settings.items()]
    return "\n".join(lines) + "\n"


def device(report: dict[str, Any]) -> str:
    """The device's name, which of a CPU JAX does not know."""
    header = report["header"]
    return str(header["cpu"] if header["platform"] == "cpu" else header["device"])


def groups(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by what they may be compared in: size, batch, dtype."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        title = f"{row['size']}, batch {row['batch']}, {row['dtype']}"
        found.setdefault(title, []).append(row)
    return found


def done(rows: list[Row]) -> list[Row]:
    """Those that were measured."""
    return [row for row in rows if "network" in row]


def best_peer_ms(row: Row, rows: list[Row], what: str = "end_to_end") -> float | None:
    """The median of the fastest peer with the same workload, if one was measured."""
    keys = ("model", "size", "batch", "dtype")
    peers = [
        other[what]["p50_ms"]
        for other in done(rows)
        if other["runtime"] != OURS and all(other[k] == row[k] for k in keys)
    ]
    return min(peers, default=None)


def summary(rows: list[Row]) -> list[str]:
    """A line per row: the median end to end, and ours beside the fastest peer's."""
    lines = []
    for row in rows:
        name = f"{row['model']} {row['size']} {row['dtype']} {row['runtime']}"
        if "network" not in row:
            lines.append(f"{name}: {_reason(row)}")
            continue
        ours, best = row["end_to_end"]["p50_ms"], best_peer_ms(row, rows)
        text = f"{name}: {_text(ours)} ms"
        if best and row["runtime"] == OURS:
            text += f", {ours / best:.2f} of the fastest peer"
        if row["agreement"] is not None:
            text += f", {row['agreement']:.3%} of the labels equal"
        lines.append(text + (" (contended)" if row["contended"] else ""))
    return lines


def _timing(what: str) -> list[Column]:
    heads = {"p50": "p50_ms", "p90": "p90_ms", "p99": "p99_ms", "min": "min_ms"}
    heads["frames/s"] = "frames_per_s"

    def column(head: str, key: str) -> Column:
        return head, lambda row: row[what][key]

    return [column(head, key) for head, key in heads.items()]


def _percent(key: str, digits: int = 0) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        return "" if row.get(key) is None else f"{100 * row[key]:.{digits}f} %"

    return show


END_TO_END: list[Column] = [
    *_timing("end_to_end"),
    ("compile s", lambda row: row["compile_s"]),
    ("peak MB", lambda row: row["peak_memory_mb"]),
    ("labels equal", _percent("agreement", 3)),
    ("published", lambda row: row.get("published")),
]
NETWORK: list[Column] = [
    *_timing("network"),
    ("M parameters", lambda row: f"{1e-6 * row['parameters']:.2f}"),
    ("GMAC", lambda row: row["gmac"]),
    ("arithmetic", _percent("arithmetic_share")),
    ("memory", _percent("memory_share")),
]


def _table(rows: list[Row], columns: list[Column]) -> list[str]:
    heads = ["network", "runtime", *(head for head, _ in columns)]
    lines = [heads, ["---"] * 2 + ["---:"] * len(columns)]
    for row in rows:
        mark = " *" if row.get("contended") else ""
        if "network" in row:
            cells = [_text(value(row)) for _, value in columns]
        else:
            cells = [_reason(row).replace("|", "/")] + [""] * (len(columns) - 1)
        lines.append([row["model"], row["runtime"] + mark, *cells])
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _reason(row: Row) -> str:
    return f"absent: {row['absent']}" if "absent" in row else f"error: {row['error']}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return "" if value is None else str(value)


def draw(report: dict[str, Any], stem: Path) -> bool:
    """Latency against accuracy, as `stem`.png; False without matplotlib.

    Accuracy is that of the runs that were measured, or of drawn weights the published.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator
    except ImportError:
        return False
    title, rows = next(iter(groups(report["rows"]).items()))
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(title=f"{device(report)}; {title}", xscale="log")
    axes.set_xlabel("ms, end to end; filled: jaxseg, open: the fastest peer")
    key, said = "published_miou", "Cityscapes test, as published"
    if any("scored_miou" in row for row in rows):
        key = "scored_miou"
        splits = {row["scored_by"].split(",")[0] for row in rows if key in row}
        said = f"{' and '.join(sorted(splits))}, as scored in training"
    axes.set_ylabel(f"% mean IoU, {said}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.12)
    shown = [r for r in done(rows) if key in r and r["runtime"] == OURS]
    # Names above and below in turn: networks of about one accuracy do not collide.
    for i, row in enumerate(sorted(shown, key=lambda row: row[key])):
        y, ours = row[key], row["end_to_end"]["p50_ms"]
        best = best_peer_ms(row, rows) or ours
        axes.plot([ours, best], [y, y], color="0.7", zorder=1)
        axes.scatter(best, y, facecolors="white", edgecolors="0.4", zorder=2)
        axes.scatter(ours, y, color="tab:blue", zorder=3)
        place: dict[str, Any] = dict(ha="center", va="bottom" if i % 2 else "top")
        offset, middle = (0, 6 if i % 2 else -6), ((ours * best) ** 0.5, y)
        axes.annotate(row["model"], middle, offset, textcoords="offset points", **place)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120)
    _write(stem, ".png", drawn.getvalue())
    return True
