"""From a trained network to what runs: `fold(model, variables, hw)`."""

from jaxseg.deploy.folding import Deployed, fold

__all__ = ["Deployed", "fold"]
