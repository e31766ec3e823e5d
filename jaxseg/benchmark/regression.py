"""A guard against getting slower: a report beside an older one."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from jaxseg.benchmark.latency import FORMAT
from jaxseg.benchmark.report import done
from jaxseg.benchmark.runtimes import OURS
from jaxseg.benchmark.timing import MEASURES
from jaxseg.errors import UserError

_MACHINE = ("platform", "device", "cpu", "cores")


class Change(NamedTuple):
    """A median of ours then and now, in ms or as a ratio to the best peer's."""

    row: str
    figure: str
    was: float
    now: float

    @property
    def growth(self) -> float:
        return self.now / self.was - 1


def read_report(path: str) -> dict[str, Any]:
    """The report in a JSON file; raises `UserError` if it is none."""
    try:
        report = json.loads(Path(path).read_text())
        if report["format"] == FORMAT:
            return report
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path} is no report of benchmark.py that can be compared with.")


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Ours in both reports: as ratios, and in ms too if the machine is the same.

    The ratio is to the fastest of the peers that both reports measured.
    """
    reports = old, new
    (was, now), changes = map(_by_row, reports), []
    same = all(old["header"].get(k) == new["header"].get(k) for k in _MACHINE)
    for key in sorted(was.keys() & now.keys()):
        both = was[key].keys() & now[key].keys()
        for what in MEASURES if OURS in both else ():
            ours = [rows[key][OURS][what]["p50_ms"] for rows in (was, now)]
            if same:
                changes.append(Change(" ".join(key), f"{what} ms", *ours))
            if peers := both - {OURS}:
                best = [
                    min(rows[key][peer][what]["p50_ms"] for peer in peers)
                    for rows in (was, now)
                ]
                ratios = [mine / theirs for mine, theirs in zip(ours, best)]
                changes.append(Change(" ".join(key), f"{what} / best peer", *ratios))
    return changes


def _by_row(report: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in done(report["rows"]):
        key = row["model"], row["size"], f"batch {row['batch']}", row["dtype"]
        found.setdefault(key, {})[row["runtime"]] = row
    return found
