"""Label images that are drawn, against counting by hand."""

import numpy as np
import pytest

from jaxseg.data.sources.shapes import draw_instances, draw_lines
from jaxseg.errors import UserError

HW = 17, 23


def by_crossings(corners):
    """Of every pixel's centre: how many edges lie to the left of it, odd or even."""
    inside = np.zeros(HW, bool)
    for row, column in np.ndindex(HW):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0)):
            if (y0 <= y) != (y1 <= y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
                inside[row, column] ^= True
    return inside


def instance(category, shape, **more):
    return {"category_id": category, "segmentation": shape, **more}


def draw(*instances, hw=HW, values=None):
    values = values or {7: 1, 9: 2}
    return draw_instances("x.jpg", hw, instances, values, 0, hw)


def test_polygons_hold_the_pixels_whose_centres_are_inside():
    square = draw(instance(7, [[1, 1, 4, 1, 4, 3, 1, 3]]), hw=(4, 6))
    assert square.dtype == np.uint8
    expected = np.zeros((4, 6), int)
    expected[1:3, 1:4] = 1
    assert square.tolist() == expected.tolist()
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(-6, 26, (rng.integers(3, 9), 2))
        found = draw(instance(9, [corners.ravel().tolist()]))
        np.testing.assert_array_equal(found == 2, by_crossings(corners))


def test_small_instances_lie_over_large_ones_and_crowds_under_all():
    large = instance(7, [[0, 0, 6, 0, 6, 4, 0, 4]], area=24)
    small = instance(9, [[2, 1, 4, 1, 4, 3, 2, 3]], area=4)
    crowd = instance(7, {"counts": [0, 24]}, iscrowd=1, area=1)
    for order in ([large, small], [small, large], [small, crowd, large]):
        found = draw(*order, hw=(4, 6))
        assert found[1:3, 2:4].tolist() == [[2, 2], [2, 2]] and found[0, 0] == 1
    found = draw(small, crowd, hw=(4, 6))
    assert (found == 255).sum() == 20 and (found == 2).sum() == 4


def test_run_lengths_go_down_columns():
    found = draw(instance(7, {"counts": [1, 2, 3, 1, 1], "size": [2, 4]}), hw=(2, 4))
    assert found.tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]


def test_run_lengths_as_text():
    mask = np.zeros((40, 50), np.uint8)
    mask[5:30, 10:40] = 1
    mask[10:20, 15:35] = 0
    mask[35:, 45:] = mask[0, 0] = 1
    # As pycocotools 2.0.11 encodes it.
    text = (
        "01d<h0kC00000000\\OK55KK55KK55KK55KK55KK55KK55KK55KK55KK55KK55KK55KK55K"
        "K55KK55KK55KK55KK55KK55KK55?00000000V7\\O^I0000000"
    )
    found = draw(instance(7, {"counts": text}), hw=(40, 50))
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (instance(7, {"counts": [1, 2]}), "cover 3 of 391 pixels"),
        (instance(7, {"counts": [-1, 392]}), "run lengths that do not fit"),
        (instance(7, {"counts": None}), "run lengths that do not fit"),
        (instance(7, {"counts": "4"}), "run lengths that do not fit"),
        (instance(7, [[1, 2, 3, 4]]), "needs three corners"),
        (instance(7, [[1, 2, 3, 4, 5, 1e9]]), "no place in a picture"),
        (instance(7, [[1, 2, 3, 4, 5, float("nan")]]), "no place in a picture"),
    ],
)
def test_instances_that_cannot_be_drawn(wrong, sentence):
    with pytest.raises(UserError, match=f"x.jpg.*{sentence}"):
        draw(wrong)


def test_instances_of_a_picture_of_another_size():
    with pytest.raises(UserError, match="x.jpg is 6x4, its instances are for 4x6"):
        draw_instances("x.jpg", (6, 4), [], {}, 0, (4, 6))


def test_a_line_a_polygon(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("1 0.5 0 1 0 1 1 0.5 1\n\n0 0 0.5 0.25 0.5 0.25 1 0 1\n")
    found = draw_lines(path, 1, 2, 0, (2, 4))
    assert found.tolist() == [[0, 0, 2, 2], [1, 0, 2, 2]]
    assert draw_lines(tmp_path / "none.txt", 1, 2, 0, (2, 2)).tolist() == [[0, 0]] * 2


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("0 0.5 0.5 0.1 0.1", "line 2 is a box, not a polygon: .*detection"),
        ("2 0 0 1 0 1 1", "line 2: there is no class 2"),
        ("0.5 0 0 1 0 1 1", "line 2: there is no class 0.5"),
        ("nan 0 0 1 0 1 1", "line 2: there is no class nan"),
        ("0 0 0 1 0 1", "line 2 is no polygon: it needs three corners"),
        ("person 0 0 1 0 1 1", "line 2 is no polygon .*person"),
    ],
)
def test_lines_that_are_no_polygons(tmp_path, line, sentence):
    path = tmp_path / "x.txt"
    path.write_text("0 0 0 1 0 1 1\n" + line)
    with pytest.raises(UserError, match=f"x.txt: {sentence}"):
        draw_lines(path, 1, 2, 0, HW)
