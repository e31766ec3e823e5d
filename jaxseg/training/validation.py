"""Validation while training: scores, curves, and pictures to look at."""

import jax
import numpy as np
from rich.console import Console

from jaxseg import devices
from jaxseg.deploy.predictor import Predictor
from jaxseg.evaluation.evaluate import (
    SEEN,
    Evaluator,
    is_seen,
    protocol,
    true_labels,
)
from jaxseg.evaluation.scores import Scores
from jaxseg.inference.pictures import grid
from jaxseg.models.sizes import size_multiple
from jaxseg.runs import Run
from jaxseg.training.bar import Bar
from jaxseg.training.journal import Journal, Silence
from jaxseg.training.recipe import VALIDATION_SPLIT, Data, Recipe
from jaxseg.training.step import TrainState

_PICTURES = 4  # rows of the picture grid
_CURVES = ("miou", "pixel_accuracy")


def stalled(run: Run, recipe: Recipe, step: int) -> bool:
    """Whether `config.train.patience` ends the run after `step`."""
    patience, best = recipe.settings.patience, run.record["scores"].get("best")
    if not patience or best is None:
        return False
    every = max(1, recipe.settings.eval_every_epochs)
    then, now = (recipe.place(s)[0] // every for s in (best["step"], step))
    return now - then >= patience


class Validation:
    """Scores a state on the validation split; writes record, curves and pictures."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        run: Run,
        journal: Journal | Silence,
        console: Console,
    ) -> None:
        self._recipe, self._data, self._run = recipe, data, run
        self._journal, self._console = journal, console
        self._evaluate = Evaluator(
            recipe.model,
            recipe.preprocess,
            data.source.table,
            recipe.settings.eval_batch_size,
        )

    def __call__(self, state: TrainState, step: int, bar: Bar) -> float:
        """The mean IoU."""
        source = self._data.source
        scores = self._evaluate(
            state.variables,
            self._data.val,
            bar.validating,
            true_labels(source, VALIDATION_SPLIT),
        )
        result = {
            "step": step,
            "protocol": protocol(
                source,
                VALIDATION_SPLIT,
                step,
                self._data.train_split,
                size_multiple(self._recipe.model),
                self._recipe.preprocess,
            ),
            **scores.as_dict(),
        }
        curves = {key: result[key] for key in _CURVES}
        for name, iou in result["class_iou"].items():
            if iou is not None:
                curves[f"iou/{name}"] = iou
        self._journal.scalars("val", step, curves)
        if devices.is_main():
            self._journal.picture(step, self.pictures(state))
        best = self._run.record["scores"].get("best")
        self._run.record["scores"]["last"] = result
        if best is None or (result["miou"] or 0) > (best["miou"] or 0):
            self._run.record["scores"]["best"] = result
        self._run.save_record()
        self._say(step, scores)
        return scores.miou

    def stalled(self, step: int) -> bool:
        """See `stalled`."""
        return stalled(self._run, self._recipe, step)

    def _say(self, step: int, scores: Scores) -> None:
        epoch, _ = self._recipe.place(step)
        seen = SEEN if is_seen(VALIDATION_SPLIT, self._data.train_split) else ""
        self._console.print(
            f"epoch {epoch}/{self._recipe.settings.num_epochs}  step {step}  "
            f"val mIoU {100 * scores.miou:.2f} %  "
            f"pixel accuracy {100 * scores.pixel_accuracy:.2f} %{seen}"
        )

    def pictures(self, state: TrainState) -> np.ndarray:
        """Some validation pictures: image | truth | prediction."""
        source, ids = self._data.source, self._data.val.ids
        # Spread over the split: neighbours in a split are often frames of one video.
        shown = np.linspace(0, len(ids) - 1, min(_PICTURES, len(ids))).astype(int)
        pairs = [source.read(VALIDATION_SPLIT, ids[i]) for i in shown]
        images, labels = map(np.stack, zip(*pairs))
        variables = jax.device_get(state.variables)
        predict = Predictor(self._recipe.model, variables, self._recipe.preprocess)
        return grid(images, labels, np.asarray(predict(images)), source.table)
