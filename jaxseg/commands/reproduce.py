"""The papers' tables beside what is ours: python reproduce.py dabnet/table4

  python reproduce.py list
      every row of the five papers' tables, by name
  python reproduce.py dabnet/table4/dabnet esnet/table3
      rows, or all of a table or of a paper: paper, ours, difference, and what differs
      in protocol, or the command that would give ours

Parameters and multiply-accumulates are counted at once. Scores are those of weights
that ship, speeds those of the reports in --results.
"""

from pathlib import Path

from absl import flags

from jaxseg import cli
from jaxseg.errors import UserError

ARGUMENTS = "rows, or list"

_RESULTS = flags.DEFINE_string(
    "results", "results", "a folder of benchmark.py's reports"
)
_JSON = flags.DEFINE_string("json", None, "also write the rows to this file")


def main(names: list[str]) -> None:
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from jaxseg import papers
    from jaxseg.files import write_whole

    console = Console()
    if not names:
        raise UserError(f"name a row; {cli.command('reproduce')} list names all.")
    if names == ["list"]:
        for row in papers.rows():
            ours = row.network or "another network"
            console.print(f"{row.name}  ({ours})", markup=False, highlight=False)
        return
    results, found = Path(_RESULTS.value), []
    tables: dict[str, list[papers.Row]] = {}
    for row in (row for name in names for row in papers.find(name)):
        tables.setdefault(row.name.rpartition("/")[0], []).append(row)
    for name, of_table in tables.items():
        table = Table(
            title=escape(f"{name}: {of_table[0].title}"), title_justify="left"
        )
        for column in ("row", "figure", "paper", "ours", "difference", "how"):
            left = column in ("row", "figure", "how")
            table.add_column(column, justify="left" if left else "right")
        commands: list[str] = []  # below the table, whole: they are to be copied
        for row in of_table:
            shown = list(papers.figures(row, results))
            found.append({**asdict(row), "ours": [asdict(figure) for figure in shown]})
            for figure in shown:
                numbers = _written(figure.ours), _written(figure.difference, "+")
                method = row.name.rpartition("/")[2] if figure is shown[0] else ""
                cells = method, figure.what, f"{figure.paper:g}", *numbers
                how = figure.how
                if figure.command:
                    if figure.command not in commands:
                        commands.append(figure.command)
                    how += f": ({1 + commands.index(figure.command)})"
                table.add_row(*cells, escape(how))
            table.add_section()
        console.print(table)
        for number, command in enumerate(commands, 1):
            line = f"({number}) {command}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        for note in dict.fromkeys(row.note for row in of_table if row.note):
            console.print(f"{note}\n", markup=False, highlight=False)
    if _JSON.value:
        try:
            write_whole(Path(_JSON.value), json.dumps(found, indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"{_JSON.value} cannot be written ({error.strerror})."
            ) from error


def _written(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4g}"
