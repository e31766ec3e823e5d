"""Checkpoints of zh320/realtime-semantic-segmentation-pytorch: known, and refused.

That repository trained networks of the five papers' names. None of them is the function
that ours is, so there is nothing to rename: in ours their numbers would mean nothing.
"""

from collections.abc import Container

from jaxseg.errors import UserError

_REPOSITORY = "zh320/realtime-semantic-segmentation-pytorch"

_DOWN = (
    "down-sampling takes 3x3 maxima, not 2x2, and leaves them out of norm and "
    "activation"
)
_LAST = (
    "the last layer is a transposed 3x3 convolution with norm and ReLU, not 2x2 alone"
)
_CORNERS = "the logits are resized with align_corners"

# A network, names of arrays that its files alone have, and what is another function.
# What other numbers would make up for in evaluation is not listed: convolutions without
# biases, eps, PReLU's one slope for all channels, a norm for each of PFCU's branches.
_NETWORKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "DABNet": (
        ("layer13_14.0.left_branch.0.0.weight", "layer15.weight"),
        (
            "its modules have norm and PReLU after their last convolution, not before "
            "the first and on the sum",
            "no norm or PReLU follows its concatenations",
            _DOWN,
            _CORNERS,
        ),
    ),
    "ESNet": (
        ("block3.0.conv_left.0.weight", "full_conv.up_conv.0.weight"),
        (_DOWN, _LAST),
    ),
    "FDDWNet": (
        ("layer17_24.0.conv.0.0.weight", "layer31.up_conv.0.weight"),
        (
            "one skip is added as it is behind two EERMs, where ours has two with an "
            "EERM each",
            "it has ReLU, not ReLU6",
            _DOWN,
            _LAST,
        ),
    ),
    "FPENet": (
        ("stage2_0.conv_init.0.weight", "decoder2.sa.conv.0.weight"),
        (
            "it has no long skips",
            "its blocks add up the groups after their convolutions, not before, at "
            "stride 2 as well",
            "its first block has four dilations, not one",
            "norm and ReLU follow every convolution, those of MEU and the last too",
            "all resizing is with align_corners",
        ),
    ),
    "LiteSeg": (
        ("daspp.stage5.1.weight", "seg_head.2.weight"),
        (
            "its backbone is MobileNetV2 without the last convolution, or a ResNet",
            "its low-level map is at 1/8, where our MobileNetV2's is at 1/4",
            "its DASPP has one convolution per branch, not two, and ReLU after each "
            "but the mean's, which has no norm",
            "its convolutions are not separable and have other widths",
        ),
    ),
}


def refuse(state_dict: Container[str], origin: str) -> None:
    """Raises `UserError` if the names are those of a network of that repository.

    Args:
        origin: the flag and the file, which the error names.
    """
    for network, (names, differences) in _NETWORKS.items():
        if all(name in state_dict for name in names):
            raise UserError(
                f"{origin}: this is the {network} of {_REPOSITORY}, which is another "
                f"function than ours: {'; '.join(differences)}. Nothing was loaded."
            )
