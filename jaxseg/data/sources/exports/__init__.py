"""Data sets as other tools export them, told by their files and taken as they are.

- Ultralytics: a YAML file with `names`, `train`, `val`; label images in `masks/` (or
  `masks_dir`, or `labels/`) whose values are the classes, or polygons in `labels/`;
- COCO: `annotations/*.json`, or a JSON file in each split's folder;
- CVAT's masks: `labelmap.txt`, `JPEGImages/`, `SegmentationClass/`;
- Supervisely's masks: `obj_class_to_machine_color.json`, `img/`, `masks_machine/`.

What polygons and instances leave uncovered is the class `background`. A `dataset.yaml`
of ours beside them may hold `size`, and nothing else.
"""

from dataclasses import replace
from pathlib import Path

from jaxseg.data.sources import description
from jaxseg.data.sources.exports import coco, masks, ultralytics
from jaxseg.data.sources.exports.export import Export

__all__ = ["Export", "READ", "find_export"]

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
