"""From a trained network to what runs: folded, as one program, as an ONNX graph.

`fold` comes first; `jaxseg.deploy.predictor` and `jaxseg.deploy.onnx` build on it.
"""

from jaxseg.deploy.folding import Deployed, fold

__all__ = ["Deployed", "fold"]
