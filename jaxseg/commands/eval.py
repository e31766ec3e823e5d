"""Scores a run: python eval.py --ckpt runs/esnet --split val [--json scores.json]

Per-class IoU, mean IoU and pixel accuracy at the size of the truth, every picture once,
void never counted. The checkpoint scored is the one with the best validation mean IoU;
--step last or --step 1234 takes another.

  python eval.py --ckpt runs/dabnet --split test --submit out.zip
      writes label ids for the Cityscapes server in place of scoring
  python eval.py --ckpt out/ --data-dir PATH
      scores what export.py wrote, run by its own engine
"""

from absl import flags

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CKPT = flags.DEFINE_string(
    "ckpt", None, "the run's folder, or an exported network", required=True
)
_SPLIT = flags.DEFINE_string("split", "val", "a split, such as train, val or test")
_STEP = flags.DEFINE_string("step", "best", "best, last or a step")
_DATA_DIR = flags.DEFINE_string(
    "data-dir", None, "where the data lie, if not where they lay in training"
)
_TTA = flags.DEFINE_string(
    "tta", None, "average over views: flip, or scales as 0.75,1,1.25,flip"
)
_SUBMIT = flags.DEFINE_string("submit", None, "write label ids to this zip file")
_JSON = flags.DEFINE_string("json", None, "also write the scores to this file")


def main() -> None:
    runtime.setup()
    from rich.console import Console

    from jaxseg.deploy.engines import is_exported
    from jaxseg.evaluation.averaging import views
    from jaxseg.evaluation.exported import score_export
    from jaxseg.evaluation.report import print_scores, score_run, write_json
    from jaxseg.evaluation.submission import shortfall, write_submission

    step = cli.step_name(_STEP.value)
    exported = is_exported(_CKPT.value)
    if exported and (_SUBMIT.value or _TTA.value or flags.FLAGS["step"].present):
        raise UserError("--submit, --tta and --step are for runs, not for exports.")
    if _SUBMIT.value:
        where = _CKPT.value, _SPLIT.value, step, _DATA_DIR.value
        count = write_submission(*where, _SUBMIT.value)
        print(f"{_SUBMIT.value}: label ids of {count} pictures, checked.")
        if too_few := shortfall(_SPLIT.value, count):
            print(too_few)
        return
    if exported:
        result = score_export(_CKPT.value, _SPLIT.value, _DATA_DIR.value)
    else:
        seen = views(_TTA.value)
        result = score_run(_CKPT.value, _SPLIT.value, step, _DATA_DIR.value, seen)
    print_scores(result, Console())
    if _JSON.value:
        write_json(result, _JSON.value)
