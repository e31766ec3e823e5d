"""Data sets as other tools export them, told by their files and taken as they are.

- Ultralytics: a YAML file with `names`, `train`, `val`; label images in `masks/` (or
  `masks_dir`, or `labels/`) whose values are the classes, or polygons in `labels/`;
- COCO: `annotations/*.json`, or a JSON file in each split's folder;
- CVAT's masks: `labelmap.txt`, `JPEGImages/`, `SegmentationClass/`;
- Supervisely's masks: `obj_class_to_machine_color.json`, `img/`, `masks_machine/`.

What polygons and instances leave uncovered is the class `background`. A `dataset.yaml`
of ours beside them may hold `size`, and nothing else.
"""

import json
from dataclasses import replace
from pathlib import Path

from jaxseg.data.sources import description
from jaxseg.data.sources.exports import coco, masks, ultralytics
from jaxseg.data.sources.exports.export import Export

__all__ = ["Export", "READ", "find_export", "of_another_tool"]

READ = "Ultralytics' YAML, COCO's JSON, and masks exported by CVAT or Supervisely"


def find_export(root: Path) -> Export | None:
    """The export in `root`; None if there is none, or `dataset.yaml` has classes.

    Raises:
        UserError: it lacks something.
    """
    own, export, size = root / description.NAME, None, None
    if own.is_file():
        described = description.read_yaml(own)
        if not isinstance(described, dict) or "classes" in described:
            return None
        size = description.size(own, described)
    for find in (ultralytics.find, masks.find_cvat, masks.find_supervisely, coco.find):
        export = export or find(root)
    if export and size:
        return replace(export, description=replace(export.description, size=size))
    return export


def of_another_tool(root: Path) -> str:
    """A sentence for an export that is known and not taken; empty for anything else."""
    files = [
        path for where in (".", "*", "*/*") for path in root.glob(f"{where}/*.json")
    ]
    for path in sorted(files)[:5]:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys():
            return (
                f" {path} is LabelMe's: its labelme2voc.py writes pictures and label "
                "images of them, or convert them to COCO's JSON, which is taken."
            )
        tasks = content if isinstance(content, list) else []
        if any(
            isinstance(t, dict) and {"data", "annotations"} <= t.keys() for t in tasks
        ):
            return (
                f" {path} is Label Studio's own JSON: export the project again as "
                "COCO, which is taken."
            )
    if any(root.rglob("task-*-annotation-*.png")):
        return (
            f" {root} holds Label Studio's PNG files, one a class and picture: export "
            "the project again as COCO, which is taken."
        )
    return ""
