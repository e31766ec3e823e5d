"""From a trained network to what runs: folded, as one program, as an ONNX graph.

`jaxseg.deploy.predictor` and `jaxseg.deploy.onnx` are made of `fold`.
"""

from jaxseg.deploy.folding import Deployed, fold

__all__ = ["Deployed", "fold"]
