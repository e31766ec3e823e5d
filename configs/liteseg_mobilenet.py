"""`train.py --config configs/liteseg_mobilenet.py:cityscapes`, or another data set."""

from functools import partial

from jaxseg.recipes.liteseg import recipe

get_config = partial(recipe, "liteseg_mobilenet")
