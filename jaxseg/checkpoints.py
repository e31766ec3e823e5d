"""Checkpoints of a run: written by Orbax, with checksums that are verified when read.

A checkpoint is a folder `<step>/` that Orbax renames to its name when it is whole. It
holds the items `variables` and `optimizer`, `metrics` if it was scored, and `about`:
JSON with a checksum of every array, and what else the writer has to say. Reading needs
no manager and changes nothing, so that a run can be read while it is trained.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxseg.errors import UserError

_ABOUT, _METRICS = "about", "metrics"


class Damaged(Exception):
    """A checkpoint is not what was written; the text says why."""


def steps_in(folder: Path) -> list[int]:
    """Steps of the finished checkpoints in `folder`, the newest last."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def score_of(folder: Path, step: int) -> float | None:
    """The mean IoU that a checkpoint was saved with; raises `Damaged`."""
    found = _read_json(folder / str(step) / _METRICS / _METRICS)
    try:
        score = None if found is None else float(found["miou"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"its score cannot be read ({error!r})") from error
    written = about(folder, step).get("miou", score)
    if str(score) != str(written):  # NaN is not equal to itself
        raise Damaged(f"its score is {score}, and {written} was written")
    return score


def about(folder: Path, step: int) -> dict[str, Any]:
    """What was written about a checkpoint; {} of one by an older jaxseg."""
    found = _read_json(folder / str(step) / _ABOUT / "metadata")
    if found is not None and not isinstance(found, dict):
        raise Damaged("what is written about it is no mapping")
    return found or {}


def read(folder: Path, step: int, like: Mapping[str, Any]) -> dict[str, Any]:
    """The items named in `like`, with its shapes, dtypes and shardings.

    Raises:
        Damaged: they cannot be read, or are not what was written.
    """
    sums = about(folder, step).get("sums", {})
    items = {}
    for name, target in like.items():
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                item = folder.resolve() / str(step) / name
                items[name] = checkpointer.restore(item, target)
        except Exception as error:  # Orbax and TensorStore raise many kinds.
            # These say nothing of the files.
            kinds = MemoryError, PermissionError
            if isinstance(error, kinds) or "RESOURCE_EXHAUSTED" in str(error):
                raise
            raise Damaged(_first_line(error)) from error
        found = _arrays(items[name])
        # Without checksums, as an older jaxseg wrote it, only this can be seen.
        for path, array in found.items():
            if array.dtype.kind not in "iub" and not np.isfinite(array).all():
                raise Damaged(f"{name}/{path} holds values that are not finite")
        if name in sums and sums[name] != _sums(found):
            raise Damaged(f"{name} has not the checksums that were written")
    return items


def newest_good(
    folder: Path,
    steps: Iterable[int],
    attempt: Callable[[int], Any],
    say: Callable[[str], None],
) -> tuple[int, Any] | None:
    """The first of the `steps` in `folder` that `attempt` reads, and what it returns.

    Says which step was taken in place of which; None where there are no steps.

    Raises:
        UserError: all of them are damaged.
    """
    wrong: dict[int, Damaged] = {}
    for step in steps:
        try:
            found = attempt(step)
        except Damaged as damaged:
            wrong[step] = damaged
            continue
        for bad, error in wrong.items():
            say(f"The checkpoint of step {bad} is damaged ({error}).")
        if wrong:
            say(f"Step {step}, the newest that is whole, is taken in its place.")
        return step, found
    if wrong:
        step, error = next(iter(wrong.items()))
        others = f", nor any of {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(
            f"checkpoint {folder / str(step)} cannot be read ({error}){others}; "
            "restore that folder from a copy, or choose another --workdir to train "
            "anew."
        ) from error
    return None


class Checkpoints:
    """Writes checkpoints to `folder`; keeps the newest `keep` and the best one.

    Writing is asynchronous: `save` copies the arrays and returns. `close` waits for
    what is being written. One process, or one job of several, may have it at a time.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        # Orbax logs every decision, and failures as tracebacks; `_guard` reports them.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._folder, self._failed = folder.resolve(), False
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics["miou"],
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        policy = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda metrics: metrics["miou"],
                cleanup_tmp_directories=True,
                create=True,
            ),
            item_names=("variables", "optimizer", _ABOUT),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def latest(self) -> int | None:
        """The newest finished step, or None."""
        return self._manager.latest_step()

    def is_scored(self, step: int) -> bool:
        """Whether the checkpoint of `step` was saved with a score."""
        return self._manager.metrics(step) is not None

    def delete(self, step: int) -> None:
        """Removes the checkpoint of `step`."""
        self._guard(lambda: self._manager.delete(step))

    def save(
        self,
        step: int,
        items: Mapping[str, Any],
        miou: float | None,
        more: Mapping[str, Any],
    ) -> None:
        """Starts to write `items`; `miou` marks the checkpoint as scored.

        Args:
            more: plain values that `about` returns beside the checksums.
        """
        sums = {name: _sums(_arrays(item)) for name, item in items.items()}
        described = ocp.args.JsonSave({**more, "miou": miou, "sums": sums})
        saved = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        self._guard(
            lambda: self._manager.save(
                step,
                args=ocp.args.Composite(**saved, **{_ABOUT: described}),
                metrics=None if miou is None else {"miou": miou},
            )
        )

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._guard(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        # After a failed write Orbax's own closing fails, in threads, with tracebacks.
        if not self._failed:
            self._guard(self._manager.close)

    def _guard(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # TensorStore's ENOSPC is a ValueError.
            self._failed = True
            newest = self._manager.latest_step()
            kept = "there is none yet" if newest is None else f"step {newest} is whole"
            raise UserError(
                f"a checkpoint could not be written to {self._folder} "
                f"({_first_line(error)}); the checkpoints before it are untouched "
                f"({kept}). Free some space and run the same command again."
            ) from error


def set_aside(folder: Path, steps: Iterable[int]) -> None:
    """Moves checkpoints that are damaged to `damaged/` beside `folder`."""
    aside = folder.parent / "damaged"
    for step in steps:
        aside.mkdir(exist_ok=True)
        number, to = 0, aside / str(step)
        while to.exists():
            number += 1
            to = aside / f"{step}-{number}"
        shutil.move(folder / str(step), to)


def _read_json(path: Path) -> Any:
    """What a JSON file holds, None if there is no such file; raises `Damaged`."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Damaged(f"{path.parent.name} cannot be read ({error})") from error


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """Every array of a tree by its path, on the host."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    # Every device has all of every array: its first part is the whole.
    return {
        jax.tree_util.keystr(path): np.asarray(
            leaf if leaf.is_fully_addressable else leaf.addressable_data(0)
        )
        for path, leaf in ((p, jax.numpy.asarray(x)) for p, x in leaves)
    }


def _sums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {
        path: zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
        for path, array in arrays.items()
    }


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [repr(error)]
    return lines[0][:200]
