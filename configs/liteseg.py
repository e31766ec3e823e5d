"""What the three LiteSeg recipes share.

The paper trains on Cityscapes alone and starts from ImageNet's weights; here training
starts from random ones.
"""

from ml_collections import ConfigDict

from configs import base


def recipe(name: str, dataset: str = "streets") -> ConfigDict:
    """The recipe of the LiteSeg called `name` for `streets` or `camvid`."""
    config = base.recipe(name, dataset)
    config.preprocess.update(base.IMAGENET)  # as the authors' code
    return config
