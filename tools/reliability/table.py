"""How injections ended, as rows of results/reliability.md."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# No effect: the result is that of the undisturbed program, bit for bit. Detected: a
# sentence and a non-zero exit, or a line that says what was taken in its place.
# Crashed: a traceback. Unnoticed: another result, and not a word.
OUTCOMES = ("no effect", "detected", "crashed", "unnoticed")


@dataclass
class Row:
    """One kind of injection, and how often it ended how.

    Attributes:
        what: the kind.
        counts: by outcome.
        note: what else is worth saying.
        failures: which injections crashed something or went unnoticed.
    """

    what: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    note: str = ""
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: str, which: str = "") -> None:
        """Counts an injection; names it where it should not have ended so."""
        self.counts[outcome] += 1
        if outcome in OUTCOMES[2:]:
            self.failures.append(which)

    @property
    def survived(self) -> bool:
        """Whether nothing crashed or went unnoticed."""
        return not self.failures


def save(path: Path, part: str, rows: Iterable[Row], about: dict[str, Any]) -> None:
    """Puts a part's rows in place of the ones that `path` has of it."""
    found = json.loads(path.read_text()) if path.is_file() else {}
    found[part] = {**about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(found, indent=1) + "\n")


def markdown(path: Path, titles: dict[str, str]) -> str:
    """The page of all parts that `path` has, in the order of `titles`."""
    found = json.loads(path.read_text())
    lines = [
        "# What jaxseg survives",
        "",
        "Made by `python -m tools.reliability`, part by part. *No effect*: the result "
        "is that of the undisturbed program, bit for bit; of a damaged file, that it "
        "was read as what it now holds. *Detected*: one sentence and "
        "a non-zero exit, or a line that says what was taken in its place. *Crashed*: "
        "a traceback. *Unnoticed*: another result without a word.",
    ]
    for part, title in titles.items():
        if part not in found:
            continue
        about = found[part]
        lines += [
            "",
            f"## {title}",
            "",
            f"`{about['command']}`: {about['seconds']:.0f} s on {about['device']}; "
            f"{about['versions']}; commit {about['commit']}.",
            "",
            f"| injected | tried | {' | '.join(OUTCOMES)} | |",
            "|---|---:|" + "---:|" * len(OUTCOMES) + "---|",
        ]
        for row in about["rows"]:
            counts = [row["counts"][outcome] for outcome in OUTCOMES]
            note = "; ".join(filter(None, [row["note"], *row["failures"][:5]]))
            cells = [row["what"], str(sum(counts)), *map(str, counts), note]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
