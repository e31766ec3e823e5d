"""LiteSeg on Darknet19: `configs/liteseg_darknet.py` or `…:camvid`."""

from functools import partial

from configs.liteseg import recipe

get_config = partial(recipe, "liteseg_darknet")
