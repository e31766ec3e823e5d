"""LiteSeg on MobileNetV2: `configs/liteseg_mobilenet.py` or `…:camvid`."""

from functools import partial

from configs.liteseg import recipe

get_config = partial(recipe, "liteseg_mobilenet")
