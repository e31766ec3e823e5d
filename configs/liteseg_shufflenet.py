"""LiteSeg on ShuffleNet: `configs/liteseg_shufflenet.py` or `…:camvid`."""

from functools import partial

from configs.liteseg import recipe

get_config = partial(recipe, "liteseg_shufflenet")
