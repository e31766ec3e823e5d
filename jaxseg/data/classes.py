"""Class tables: names and colours of the train ids, and the one void id."""

from dataclasses import dataclass

import numpy as np

VOID = 255


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set, in the order of their train ids `0..k-1`.

    Attributes:
        names: k names.
        palette: k colours, RGB in 0..255; void is black.
        categories: the category of each class, k names, or none at all.
        values: what each class is in the data set's own label files, k whole numbers;
            none where they are the train ids, or colours.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    categories: tuple[str, ...] = ()
    values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(
                f"a class table needs one colour per name, got {len(self.names)} names "
                f"and {len(self.palette)} colours."
            )
        if self.values and len(self.values) != len(self.names):
            raise ValueError(
                f"a class table needs one value per class or none, got "
                f"{len(self.values)} for {len(self.names)} classes."
            )
        if self.categories and len(self.categories) != len(self.names):
            raise ValueError(
                f"a class table needs one category a class or none, got "
                f"{len(self.categories)} for {len(self.names)} classes."
            )

    def of_files(self, label: np.ndarray) -> np.ndarray:
        """Class ids as the values of the data set's own label files; void is 0."""
        values = np.array(self.values or range(len(self)))
        table = np.zeros(256, np.min_scalar_type(values.max()))
        table[: len(self)] = values
        return table[label]

    def __len__(self) -> int:
        return len(self.names)

    def colours(self) -> np.ndarray:
        """uint8 `(256, 3)`: the colour of every id; unused ids and void are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.palette
        return table


# Source: cityscapesscripts/helpers/labels.py, train ids 0 to 18 with their label ids.
CITYSCAPES = ClassTable(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
    categories=(
        *("flat", "flat", "construction", "construction", "construction"),
        *("object", "object", "object", "nature", "nature", "sky"),
        *("human", "human", *("vehicle",) * 6),
    ),
    values=(*(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23), *range(24, 29), 31, 32, 33),
)

# Source: SegNet's 11 classes in the order of its label images; the pavement's colour is
# that of the original data, for SegNet's own script shows another one.
CAMVID = ClassTable(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
