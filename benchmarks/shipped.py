"""Prints the README's tables about the shipped models, from a run of ``edge-fer evaluate``.

Example: python benchmarks/shipped.py --data fer2013.npz --non-faces scenes.zip --markdown README.md
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_fer.modelfile import read_model
from edge_fer.models import find

NAMES = ("expression", "expression-nano", "expression-fer2013")
MAIN, SMALL = NAMES[:2]
FOR = ("Pi 4 and 5", "Zero 2 W class boards", "FER2013's own seven labels")
ROWS = ("FER+ majority", "FER+ majority", "original labels")
BEGIN, END = "<!-- models -->", "<!-- /models -->"


def evaluated(name: str, data: Path, non_faces: Path) -> dict[str, Any]:
    """What the command says of one model."""
    words = ["evaluate", name, "--data", str(data), "--robustness", "--non-faces", str(non_faces)]
    done = subprocess.run(
        [sys.executable, "-c", "from edge_fer.cli import main; main()", *words, "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    return dict(json.loads(done.stdout))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines).replace("|  |", "| |")


def models_table(found: dict[str, dict[str, Any]]) -> str:
    """One column for each model."""
    contracts = {name: read_model(find(name)).contract for name in NAMES}
    metrics = [contracts[name].metrics[0] for name in NAMES]
    made = [contracts[name].provenance for name in NAMES]
    sizes = [find(name).stat().st_size for name in NAMES]

    def row(title: str, cells: list[str]) -> list[str]:
        return [title, *cells]

    rows = [
        row("for", list(FOR)),
        row("rows", [f"{m.n:,} {what}" for m, what in zip(metrics, ROWS, strict=True)]),
        row(
            "parameters, MMAC",
            [f"{p['parameters']:,}, {p['macs'] / 1e6:.1f}" for p in made],
        ),
        row("file, kB", [f"{size / 1000:.0f}" for size in sizes]),
        row("recipe", [str(contracts[name].quantisation.recipe) for name in NAMES]),
        row("accuracy float, %", [f"{100 * m.float_accuracy:.2f}" for m in metrics]),
        row("accuracy int8, %", [f"{100 * m.int8_accuracy:.2f}" for m in metrics]),
        row(
            "drop, points",
            [
                f"{m.drop_points:+.2f} [{m.ci95_points[0]:.2f}, {m.ci95_points[1]:.2f}]"
                for m in metrics
            ],
        ),
        row("same label float and int8, %", [f"{100 * m.agreement:.2f}" for m in metrics]),
        row(
            "int8 without copies of training pictures, %",
            [f"{100 * found[name]['clean']['accuracy']:.2f}" for name in NAMES],
        ),
        row(
            "mean recall, classes with 50 rows, %",
            [f"{100 * found[name]['macro_recall_n50']:.1f}" for name in NAMES],
        ),
        row("calibration error (ECE)", [f"{found[name]['ece']:.3f}" for name in NAMES]),
    ]
    return table(["", *(f"`{name}`" for name in NAMES)], rows)


def recall_table() -> str:
    """Class by class, of the main model, as its contract records it."""
    rows = []
    for label, c in sorted(read_model(find(MAIN)).contract.metrics[0].per_class.items()):
        recalls = [f"{100 * float(c[key] or 0):.1f}" for key in ("float_recall", "int8_recall")]
        rows.append([label, str(c["n"]), *recalls, f"{float(c['drop_points'] or 0):+.1f}"])
    return table(["", "n", "float", "int8", "drop, points"], rows)


def unknown_table(found: dict[str, dict[str, Any]]) -> str:
    """Named, and right of those, under each corruption."""

    def cells(cell: dict[str, Any]) -> list[str]:
        right = cell["accuracy"]
        return [f"{100 * cell['coverage']:.1f}", "-" if right is None else f"{100 * right:.1f}"]

    both = [found[MAIN]["robustness"], found[SMALL]["robustness"]]
    rows = [["as it is", *(c for r in both for c in cells(r["clean"]))]]
    for name in both[0]["corrupted"]:
        shown = [c for r in both for c in cells(r["corrupted"][name]["all"])]
        rows.append([name.replace("_", " "), *shown])
    for title, key in (
        ("noise", "accepted_noise"),
        ("scenes without a face", "accepted_non_faces"),
    ):
        rows.append([title, *(c for r in both for c in (f"{100 * _share(r[key]):.1f}", "-"))])
    head = [f"`{MAIN}` named", "right", f"`{SMALL}` named", "right"]
    return table(["", *head], rows)


def _share(value: Any) -> float:
    return float(value["share"] if isinstance(value, dict) else value)


def section(found: dict[str, dict[str, Any]]) -> str:
    """All of it."""
    jitter = found[MAIN]["robustness"]["jitter_loss_points"]
    return "\n".join(
        (
            BEGIN,
            models_table(found),
            "",
            f"Recall of `{MAIN}`, %:",
            "",
            recall_table(),
            "",
            "What is spoilt is called `unknown` when no class reaches the contract's threshold, "
            "which `validation` chose. Named, and right of those, %, all three strengths together:",
            "",
            unknown_table(found),
            "",
            f"Jitter of the crop (5 % shift, 8 % size, 8° roll at once) costs {jitter:.2f} points.",
            END,
        )
    )


def fill_in(markdown: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two markers of a file, markers included."""
    before, _, rest = markdown.read_text(encoding="utf-8").partition(begin)
    _, marker, after = rest.partition(end)
    if not marker:
        raise typer.BadParameter(f"{markdown} has no {begin} ... {end}")
    markdown.write_text(before + text + after, encoding="utf-8")


def main(
    data: Annotated[Path, typer.Option(help="FER2013 with FER+ votes.")],
    non_faces: Annotated[Path, typer.Option(help="Zip of scenes without faces.")],
    markdown: Annotated[Path | None, typer.Option(help="File with markers to fill in.")] = None,
) -> None:
    """Measure the shipped models and print the README's tables about them."""
    text = section({name: evaluated(name, data, non_faces) for name in NAMES})
    if markdown is None:
        typer.echo(text)
        return
    fill_in(markdown, BEGIN, END, text)


if __name__ == "__main__":
    typer.run(main)
