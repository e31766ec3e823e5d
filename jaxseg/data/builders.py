"""TFDS builders of the data sets. Importing this file imports TensorFlow Datasets.

`Camvid(data_dir=...)` and `Cityscapes(data_dir=...)` read their folder as `manual_dir`;
`Streets(data_dir=...)` draws; `builder_of(source, ...)` takes any source.
Examples are `image_id`, `image` uint8 (h, w, 3) and `label` uint8 (h, w, 1) with train
ids and 255 for void.
"""

import numpy as np
import tensorflow_datasets as tfds

from jaxseg.data import sources
from jaxseg.data.sources import Source, check_classes, open_source


# TFDS has no types, and `object` no `skip_registration`.
class _Builder(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    VERSION = tfds.core.Version("1.0.0")
    # A class, opened in `manual_dir`, or one opened.
    source: type[sources.CamVid] | type[sources.Cityscapes] | Source
    only: str | None = None  # the one split to prepare; None for all

    def _info(self) -> tfds.core.DatasetInfo:
        h, w = self.source.hw
        features = tfds.features.FeaturesDict(
            {
                "image_id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(h, w, 3), encoding_format="png"),
                "label": tfds.features.Image(shape=(h, w, 1), encoding_format="png"),
            }
        )
        return self.dataset_info_from_configs(
            features=features,
            supervised_keys=("image", "label"),
            # One shuffled order would make indices meaningless: keep the source's.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        source = self.source
        if isinstance(source, type):
            source = open_source(source.name, str(dl_manager.manual_dir))
        splits = source.splits if self.only is None else (self.only,)
        return {split: self._generate_examples(source, split) for split in splits}

    def _generate_examples(self, source: Source, split: str):
        present = np.zeros(256, np.int64)
        for index, sample_id in enumerate(source.ids(split)):
            image, label = source.read(split, sample_id)
            present += np.bincount(label.ravel(), minlength=256)
            yield (
                index,
                {"image_id": sample_id, "image": image, "label": label[..., None]},
            )
        if split not in source.unlabelled:
            check_classes(source, split, np.flatnonzero(present).tolist())


class Camvid(_Builder):
    """CamVid, 480x360, 11 classes; `manual_dir` holds train/ trainannot/ val/ ..."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that holds train/, trainannot/, val/, valannot/, "
        "test/ and testannot/ of SegNet's CamVid."
    )
    source = sources.CamVid


class Cityscapes(_Builder):
    """Cityscapes, 2048x1024, 19 classes; `manual_dir` holds folders or zip files."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that holds leftImg8bit/, gtFine/ and gtCoarse/, or "
        "the official zip files of those names."
    )
    source = sources.Cityscapes


class Streets(_Builder):
    """Synthetic street scenes, 512x256, the 19 Cityscapes classes."""

    source = sources.Streets()


def builder_of(source: Source, split: str, data_dir: str) -> tfds.core.DatasetBuilder:
    """A builder of one split of `source`, with shards under `data_dir`."""

    class Prepared(_Builder, skip_registration=True):  # type: ignore[call-arg]
        name = source.name
        MANUAL_DOWNLOAD_INSTRUCTIONS = None

    Prepared.source, Prepared.only = source, split
    return Prepared(data_dir=data_dir, file_format="array_record")
