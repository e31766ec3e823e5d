"""What the recipes of all networks share, by data set."""

from ml_collections import ConfigDict

from jaxseg.errors import UserError

NUM_CLASSES = {"camvid": 11, "streets": 19}


def recipe(dataset: str) -> ConfigDict:
    """Sections that depend on the data set alone.

    Raises:
        UserError: the data set is unknown; the message lists those that there are.
    """
    if dataset not in NUM_CLASSES:
        known = ", ".join(NUM_CLASSES)
        raise UserError(f"no data set is called {dataset!r}; there are: {known}.")
    config = ConfigDict()
    config.seed = 0
    config.data = dict(name=dataset, dir="", train_split="train", loader="auto")
    return config
