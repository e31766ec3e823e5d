"""CamVid's original frames under both conventions."""

import numpy as np
import pytest
from conftest import shared_or_skip
from PIL import Image

from jaxseg.data.classes import CAMVID
from jaxseg.data.sources import CamVid, CamVidRaw, camvid_raw, open_source
from jaxseg.errors import UserError

# The published list of colours, and the class that MathWorks' and SegNet's merging
# gives each; the 11 with a star keep theirs in the pure convention.
COLOURS = """
64,128,64 pedestrian Animal; 192,0,128 building Archway; 0,128,192 bicyclist *Bicyclist
0,128,64 building Bridge; 128,0,0 building *Building; 64,0,128 car *Car
64,0,192 pedestrian CartLuggagePram; 192,128,64 pedestrian Child
192,192,128 pole *Column_Pole; 64,64,128 fence *Fence; 128,0,192 road LaneMkgsDriv
192,0,64 road LaneMkgsNonDriv; 128,128,64 sign Misc_Text
192,0,192 bicyclist MotorcycleScooter; 128,64,64 car OtherMoving
64,192,128 pavement ParkingBlock; 64,64,0 pedestrian *Pedestrian; 128,64,128 road *Road
128,128,192 pavement RoadShoulder; 0,0,192 pavement *Sidewalk
192,128,128 sign *SignSymbol; 128,128,128 sky *Sky; 64,128,192 car SUVPickupTruck
0,0,64 pole TrafficCone; 0,64,64 sign TrafficLight; 192,64,128 car Train
128,128,0 tree *Tree; 192,128,192 car Truck_Bus; 64,0,64 building Tunnel
192,192,0 tree VegetationMisc; 0,0,0 void Void; 64,192,0 building Wall
"""
ROWS = [row.split() for row in COLOURS.replace("\n", ";").split(";") if row.strip()]
NAMES = {
    "train": ["0001TP_006690", "0006R0_f00930"],
    "val": ["0016E5_07959"],
    "test": ["Seq05VD_f00000"],
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Four frames whose labels have all 32 colours, a stripe each."""
    monkeypatch.setattr(camvid_raw, "_published_splits", lambda: NAMES)
    images = tmp_path / "701_StillsRaw_full"
    labels = tmp_path / "LabeledApproved_full"
    images.mkdir(), labels.mkdir()
    stripes = np.array([row[0].split(",") for row in ROWS], np.uint8)
    label = np.broadcast_to(stripes.repeat(30, 0), (720, 960, 3)).copy()
    for value, name in enumerate(name for names in NAMES.values() for name in names):
        Image.new("RGB", (960, 720), (value, 50, 90)).save(images / f"{name}.png")
        Image.fromarray(label).save(labels / f"{name}_L.png")
    return tmp_path


@pytest.mark.parametrize("name", ["camvid_merged", "camvid_pure"])
def test_all_colours_become_the_convention_s_classes(tree, name):
    assert len(ROWS) == 32
    source = open_source(name, str(tree))
    image, label = source.read("train", source.ids("train")[1])
    assert image.shape == (720, 960, 3) and image[0, 0].tolist() == [1, 50, 90]
    for row, (_, class_name, published) in enumerate(ROWS):
        kept = name == "camvid_merged" or published.startswith("*")
        void = class_name == "void" or not kept
        expected = 255 if void else CAMVID.names.index(class_name)
        assert set(label[:, 30 * row : 30 * row + 30].ravel()) == {expected}, published
    assert source.ids("trainval") == NAMES["train"] + NAMES["val"]
    assert name in source.remarks("train")[0]


def test_splits_are_segnet_s():
    published = camvid_raw._published_splits()
    assert {k: len(v) for k, v in published.items()} == {
        "train": 367,
        "val": 101,
        "test": 233,
    }
    small = CamVid(shared_or_skip("camvid"))
    for split, names in published.items():
        assert small.ids(split) == names


def test_a_few_stray_pixels_are_void_and_many_are_an_error(tree):
    source = CamVidRaw(tree, "camvid_merged")
    path = tree / "LabeledApproved_full" / "0016E5_07959_L.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[:10, :100] = (1, 2, 3)
    Image.fromarray(pixels).save(path)
    label = source.read("val", "0016E5_07959")[1]
    assert (label[:10, :100] == 255).all() and (label[10:, 0] != 255).all()
    pixels[:100] = (1, 2, 3)
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match="14% .*0016E5_07959_L.png .*#010203"):
        source.read("val", "0016E5_07959")


def test_what_is_missing_is_named(tree):
    (tree / "701_StillsRaw_full" / "0001TP_006690.png").unlink()
    source = CamVidRaw(tree, "camvid_pure")
    with pytest.raises(UserError, match="1 files of train .*0001TP_006690.png"):
        source.ids("train")
    with pytest.raises(UserError, match="701_StillsRaw_full or images"):
        CamVidRaw(tree / "nowhere", "camvid_pure")
