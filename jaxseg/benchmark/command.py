"""What benchmark.py does: measure, write the report, compare with an older one."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from jaxseg.benchmark import regression, report
from jaxseg.benchmark.latency import Plan, benchmark
from jaxseg.benchmark.runtimes import OURS


def measure_and_report(
    plan: Plan, output: str, compare_with: str | None = None, fail_above: float = 0.1
) -> bool:
    """Measures, with a progress bar, and writes `output`.json, .md and .png.

    Args:
        output: without suffix; "PLATFORM" in it becomes "cpu" or "gpu".
        compare_with: an older report's JSON file.
        fail_above: how much slower than there is a failure, 0.1 for 10 %.

    Returns:
        Whether all of our rows were measured, and none got slower than that.

    Raises:
        UserError: see `benchmark`; or a file cannot be read or written.
    """
    console = Console()
    older = regression.read_report(compare_with) if compare_with else None
    report.check_folder(Path(output))

    def stem(found: dict[str, Any]) -> Path:
        return Path(output.replace("PLATFORM", found["header"]["platform"]))

    columns = *Progress.get_default_columns()[:2], MofNCompleteColumn()
    # Drawn when something changed: a bar that moves takes time from what is measured.
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task("")

        def tell(what: str, ended: int, total: int) -> None:
            bar.update(
                task, description=what, completed=ended, total=total, refresh=True
            )

        found = benchmark(plan, lambda found: report.write(found, stem(found)), tell)
    drawn = report.draw(found, stem(found))
    print(*report.summary(found["rows"]), sep="\n")
    picture = f"{stem(found)}.png" if drawn else "(no picture without matplotlib)"
    print(f"{stem(found)}.json {stem(found)}.md {picture}")
    ok = all("error" not in row for row in found["rows"] if row["runtime"] == OURS)
    if older is not None:
        changes = regression.compare(older, found)
        _print_changes(changes, fail_above, console)
        ok &= all(change.growth <= fail_above for change in changes)
    return ok


def _print_changes(
    changes: list[regression.Change], limit: float, console: Console
) -> None:
    if not changes:
        console.print("No row of ours is in both reports; nothing was compared.")
        return
    table = Table("row", "figure", "was", "now", "growth", title="Against the older")
    for change in changes:
        cells = f"{change.was:.3g}", f"{change.now:.3g}", f"{change.growth:+.1%}"
        style = "red" if change.growth > limit else None
        table.add_row(change.row, change.figure, *cells, style=style)
    console.print(table)
