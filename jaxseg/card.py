"""Model cards: what a network is, what it was trained on and how well it does."""

from collections.abc import Mapping
from typing import Any

# What the makers of a data set ask of those who use it, by how its name begins.
_TERMS = {
    "camvid": "CamVid is for research: so are weights that were trained on it.",
    "cityscapes": (
        "Cityscapes is for research and other uses that earn no money; read its "
        "licence before you use weights that were trained on it otherwise."
    ),
}

# Of the card in a run's folder, where somebody may have a README.md of their own.
NAME = "MODEL_CARD.md"


def card_of_run(record: Mapping[str, Any]) -> str:
    """Markdown, from the `run.json` of a run or of weights; what older ones do not say
    is left out."""
    scores = record.get("scores", {}).get("best", {})
    data = record["config"].get("data", {})
    name, split = data.get("name", "unknown data"), data.get("train_split", "unknown")
    note = record.get("weights", {}).get("note")
    start = record.get("init_from") or "random weights"
    step = f", step {scores['step']}" if "step" in scores else ""
    return _markdown(
        record["model"],
        name,
        record["classes"],
        what="A network that segments pictures into {} classes, a run of jaxseg: "
        "every program takes this folder as `--ckpt`.",
        facts={
            "In": "pictures of any size, uint8 RGB as a viewer shows them; "
            + _preprocessing(record["preprocess"]),
            "Out": "a class id per pixel, uint8 `(h, w)`",
            "Trained on": f"{name}, split {split}, "
            f"starting from {start}{step}; the whole recipe is in `run.json`",
            "Score": _score(scores),
            "Made with": _versions(record.get("versions", {}))
            + (f"; {record['device']}" if "device" in record else ""),
            "Terms": terms(note, name),
        },
    )


def card_of_export(report: Mapping[str, Any]) -> str:
    """Markdown, from the report that lies beside an export."""
    check = report["check"]
    h, w = report["hw"] or "hw"
    size = f"{w}x{h}" if report["hw"] else "any size"
    batch = report["batch"] or "any number of"
    output = {
        "labels": "class ids, uint8 `(b, h, w)`, named in `labels.txt`",
        "logits": "logits, float32 `(b, h, w, k)`, for the classes of `labels.txt`",
    }[report["output"]]
    return _markdown(
        report["network"],
        report["data"],
        report["classes"],
        what="A network that segments pictures into {} classes, exported as "
        f"{report['format']} by jaxseg.",
        facts={
            "In": f"{batch} picture(s) of {size}, uint8 `(b, {h}, {w}, 3)`, RGB as a "
            f"viewer shows it; {_preprocessing(report['preprocess'])}",
            "Out": output,
            "Trained on": f"{report['data']}, split {report['train_split']}, step "
            f"{report['step']}",
            "Score": _score(report["scores"]),
            "Checked": f"{100 * check['equal_labels']:.3f} % of the labels equal those "
            f"of the network as it was trained ({check['count']} pictures, "
            f"{check['pictures']}; {check['engine']}); {check['latency_ms']:.1f} ms a "
            "picture there",
            "Made with": _versions(report["versions"]),
            "Terms": report["note"],
        },
        use="`python run_model.py picture.png labels.png` writes the label map of a "
        + ("picture, which it resizes. " if report["hw"] else "picture. ")
        + "Numbers are in `report.json`.",
    )


def terms(note: str | None, data: str) -> str:
    """What is said of weights, and what is asked of those who use some that were
    trained on the data set."""
    asked = next((text for name, text in _TERMS.items() if data.startswith(name)), "")
    return " ".join(dict.fromkeys(filter(None, (note, asked))))  # not the same twice


def _markdown(
    network: Mapping[str, Any],
    data: str,
    classes: Mapping[str, Any],
    what: str,
    facts: Mapping[str, str],
    use: str = "",
) -> str:
    names = classes["names"]
    lines = [f"# {network['name']}, {data}", "", what.format(len(names)), ""]
    lines += [
        f"- **{name}**: {fact.removesuffix('.')}."
        for name, fact in facts.items()
        if fact
    ]
    lines += ["", use] if use else []
    return "\n".join([*lines, "", "Classes: " + ", ".join(names) + "."]) + "\n"


def _preprocessing(preprocess: Mapping[str, Any]) -> str:
    mean, std = (
        ", ".join(f"{value:g}" for value in preprocess[key]) for key in ("mean", "std")
    )
    scale = preprocess.get("input_scale", 1.0)
    seen = f", seen at {scale:g} of its size" if scale != 1 else ""
    return (
        "nothing is subtracted or scaled before: it is part of the network (mean "
        f"{mean}, standard deviation {std}{seen})"
    )


def _score(scores: Mapping[str, Any]) -> str:
    if scores.get("miou") is None:
        return "none was recorded"
    protocol = scores.get("protocol", "unknown")
    return f"{100 * scores['miou']:.2f} % mean IoU ({protocol})"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
