"""DABNet with one module a block: for runs that are killed, which compile soon."""

from ml_collections import ConfigDict

from configs import dabnet


def get_config(arguments: str = "auto") -> ConfigDict:
    """DABNet's recipe, with a network short enough for a test of the programs."""
    config = dabnet.get_config(arguments)
    with config.unlocked():
        config.model.update(dilations1=(2,), dilations2=(4,))
    return config
