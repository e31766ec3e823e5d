"""The model card: what a network is, what it was trained on and how well it does."""

from typing import Any

# What the makers of a data set ask of those who use it, by how its name begins.
_TERMS = {
    "camvid": "CamVid is for research: so are weights that were trained on it.",
    "cityscapes": (
        "Cityscapes is for research and other uses that earn no money; read its "
        "licence before you use weights that were trained on it otherwise."
    ),
}


def card(report: dict[str, Any]) -> str:
    """Markdown, from the report that lies beside an export."""
    check, scores = report["check"], report["scores"]
    h, w = report["hw"]
    batch = report["batch"] or "any number of"
    output = {
        "labels": "class ids, uint8 `(b, h, w)`, named in `labels.txt`",
        "logits": "logits, float32 `(b, h, w, k)`, for the classes of `labels.txt`",
    }[report["output"]]
    preprocess = report["preprocess"]
    versions = ", ".join(f"{name} {v}" for name, v in report["versions"].items())
    lines = [
        f"# {report['network']['name']}, {report['data']}",
        "",
        f"A network that segments pictures into {len(report['classes']['names'])} "
        f"classes, exported as {report['format']} by jaxseg.",
        "",
        f"- **In**: {batch} picture(s) of {w}x{h}, uint8 `(b, {h}, {w}, 3)`, RGB as a "
        "viewer shows it. Nothing is subtracted or scaled before: it is part of the "
        f"network (mean {_numbers(preprocess['mean'])}, standard deviation "
        f"{_numbers(preprocess['std'])}"
        + _scale(preprocess.get("input_scale", 1.0))
        + ").",
        f"- **Out**: {output}.",
        f"- **Trained on**: {report['data']}, split {report['train_split']}, step "
        f"{report['step']}.",
        f"- **Score**: {_score(scores)}",
        f"- **Checked**: {100 * check['equal_labels']:.3f} % of the labels equal those "
        f"of the network as it was trained ({check['count']} pictures, "
        f"{check['pictures']}; {check['engine']}); {check['latency_ms']:.1f} ms a "
        "picture there.",
        f"- **Made with**: {versions}.",
    ]
    if report["note"]:
        lines.append(f"- **Terms**: {report['note']}")
    lines += [
        "",
        "`python run_model.py picture.png labels.png` writes the label map of a "
        "picture, which it resizes. Numbers are in `report.json`.",
        "",
        "Classes: " + ", ".join(report["classes"]["names"]) + ".",
    ]
    return "\n".join(lines) + "\n"


def terms_of(data: str) -> str:
    """What is asked of those who use weights that were trained on the data set."""
    return next((text for name, text in _TERMS.items() if data.startswith(name)), "")


def _score(scores: dict[str, Any]) -> str:
    if not scores or scores.get("miou") is None:
        return "none was recorded."
    return (
        f"{100 * scores['miou']:.2f} % mean IoU ({scores.get('protocol', 'unknown')})."
    )


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _scale(scale: float) -> str:
    return f", seen at {scale:g} of its size" if scale != 1 else ""
