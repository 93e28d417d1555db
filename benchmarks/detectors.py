"""Prints the README's table about face detectors: one run, one process, one thread, side by side.

Every frame goes to each detector in turn, so that all are timed in the same minutes. A detector
that is not on this machine is named and left out. Haar stands in it with both cascades and the
smallest face at 40 pixels, which latencies are compared with; it takes most of the time.

Example: python benchmarks/detectors.py --boxes faceboxes_dev.zip --groups group_photos.zip \
    --scenes nonface_scenes.zip --faces fer2013.npz --json detectors.json --markdown README.md
"""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from edge_fer.assemble import open_classifier, open_detector
from edge_fer.cli.console import Talk
from edge_fer.errors import EdgeFerError
from edge_fer.evaluation.boxes import FRAME, SceneSet, read_scenes
from edge_fer.evaluation.composites import SIDES, drawn_faces, end_to_end
from edge_fer.evaluation.conditions import CONDITIONS, recall_under_conditions
from edge_fer.evaluation.data import load
from edge_fer.evaluation.detector import Entrant, evaluate_detectors, low_twin
from edge_fer.files import write_text
from shipped import fill_in, table

HAAR = "haar?min_size=40"
ALT2 = "haar?cascade=alt2&min_neighbours=4&min_size=40"
YUNET = "yunet"
DETECTORS = ("face", "blazeface-full", "blazeface-front", YUNET, HAAR, ALT2)
CLASSIFIER = "expression"
CROWD = "stadium_football_sun_bzdvbhfueegligps.jpg"
"""The one scene of ``nonface_scenes.zip`` that shows a far crowd; another zip need not have it."""
BEGIN, END = "<!-- detectors -->", "<!-- /detectors -->"
_SEED = 1001
_PASTED = 1000
_CONDITION_SCENES = 67  # evenly among the scenes: there are seven conditions

Found = dict[str, dict[str, Any]]


def opened(names: list[str], talk: Talk) -> tuple[dict[str, Entrant], dict[str, str]]:
    """What is on this machine, and why the others are not."""
    entrants: dict[str, Entrant] = {}
    left_out: dict[str, str] = {}
    for name in names:
        twin = low_twin(name)
        try:
            low = None if twin is None else open_detector(twin, threads=1)
            entrants[name] = Entrant(detector=open_detector(name, threads=1), low=low)
        except EdgeFerError as err:
            left_out[name] = str(err)
            talk.say(f"left out: {name}: {err}")
    return entrants, left_out


def measured(
    entrants: dict[str, Entrant],
    *,
    boxes: SceneSet,
    groups: SceneSet,
    scenes: SceneSet,
    faces: Path,
    pasted: int,
    talk: Talk,
) -> Found:
    """All figures, by detector."""
    detectors = {name: entrant.detector for name, entrant in entrants.items()}
    classifier = open_classifier(CLASSIFIER, threads=1)
    rows = drawn_faces(load(faces, classifier.labels, split="PublicTest"), pasted, _SEED)
    with talk.progress() as bar:
        task = bar.add_task("")

        def step(what: str) -> Any:
            bar.update(task, description=what, completed=0)
            return lambda done, total: bar.update(task, completed=done, total=total)

        # In frames of one size, which latencies are stated for.
        crowd = evaluate_detectors(entrants, boxes, fit=FRAME, on_step=step("scenes with boxes"))
        few = evaluate_detectors(entrants, groups, min_height=0, on_step=step("group photos"))
        none = evaluate_detectors(entrants, scenes, on_step=step("scenes without faces"))
        spoilt = recall_under_conditions(
            detectors,
            thinned(boxes, _CONDITION_SCENES),
            seed=_SEED,
            fit=FRAME,
            on_step=step("conditions"),
        )
        ends = {
            kind: end_to_end(
                detectors,
                classifier,
                rows,
                scenes.scenes,
                seed=_SEED,
                gray=kind == "gray",
                on_step=step(f"pasted faces, {kind} scenes"),
            )
            for kind in ("colour", "gray")
        }
    described = {name: {"name": name} for name in entrants}
    return {
        name: {
            "boxes": crowd[name].to_json(described[name]),
            "groups": few[name].to_json(described[name]),
            "scenes": none[name].to_json(described[name]),
            "conditions": spoilt[name],
            "end_to_end": {kind: end[name].to_json() for kind, end in ends.items()},
        }
        for name in entrants
    }


def thinned(scenes: SceneSet, limit: int | None) -> SceneSet:
    """At most so many, evenly among them."""
    if limit is None:
        return scenes
    return replace(scenes, scenes=scenes.scenes[:: -(-len(scenes.scenes) // limit)])


def without(scenes: SceneSet, name: str) -> SceneSet:
    """All but the picture of this name, where there is one."""
    return replace(scenes, scenes=tuple(s for s in scenes.scenes if Path(s.name).name != name))


def detectors_table(found: Found) -> str:
    """One column for each detector."""

    def row(title: str, cells: list[str]) -> list[str]:
        return [title, *cells]

    boxes = [f["boxes"] for f in found.values()]
    groups = [f["groups"] for f in found.values()]
    free = [f["scenes"]["face_free"] for f in found.values()]
    rows = [
        *(
            row(
                f"{title}, {boxes[0]['faces']} faces in {boxes[0]['data']['n']} scenes",
                [f"{_of(b[key])} {_interval(b[f'{key}_ci95'])}" for b in boxes],
            )
            for title, key in (("AP50", "ap50"), ("AP30", "ap30"))
        ),
        row("recall / precision", [f"{_of(b['recall'])} / {_of(b['precision'])}" for b in boxes]),
        row(
            f"group photos: found of {groups[0]['faces']}, extra",
            [f"{g['found']}, {g['extra']}" for g in groups],
        ),
        row(
            f"scenes without a face: of {free[0]['n']} with a false positive",
            [f"{f['scenes_with']} ({100 * f['share']:.1f} %)" for f in free],
        ),
        row(
            "ms a frame of 640x480, median / 90 %",
            [f"{b['latency_ms']['p50']:.1f} / {b['latency_ms']['p90']:.1f}" for b in boxes],
        ),
        *_ratios(found),
        *(
            row(f"recall, {name.replace('_', ' ')} (n {_faces(found, name)})", cells)
            for name in CONDITIONS
            for cells in [[_of(f["conditions"][name]["recall"]) for f in found.values()]]
        ),
        *(line for kind in ("colour", "gray") for line in _pasted_rows(found, kind)),
    ]
    return table(["", *(f"`{name}`" for name in found)], rows)


def _ratios(found: Found) -> list[list[str]]:
    took = {name: f["boxes"]["latency_ms"]["p50"] for name, f in found.items()}
    return [
        [f"times as fast as `{peer}`", *(f"{took[peer] / each:.2f}" for each in took.values())]
        for peer in (HAAR, ALT2, YUNET)
        if peer in took
    ]


def _pasted_rows(found: Found, kind: str) -> list[list[str]]:
    ends = [f["end_to_end"][kind] for f in found.values()]
    of = f"pasted faces, {kind} scenes (n {ends[0]['n']})"
    return [
        [f"{of}: recall of square / box, %", *(_two(e, "recall", "recall_of_box") for e in ends)],
        [
            f"{of}: accuracy of those, given / found, %",
            *(_two(e, "accuracy_given_of_found", "accuracy_found") for e in ends),
        ],
        [
            f"{of}: accuracy, all given / misses wrong, %",
            *(_two(e, "accuracy_given", "accuracy_misses_wrong") for e in ends),
        ],
    ]


def _faces(found: Found, condition: str) -> int:
    return int(next(iter(found.values()))["conditions"][condition]["n"])


def _two(values: dict[str, Any], first: str, second: str) -> str:
    cells = (values[key] for key in (first, second))
    return " / ".join("-" if v is None else f"{100 * v:.1f}" for v in cells)


def _of(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(ends: list[float] | None) -> str:
    return "" if ends is None else f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def section(found: Found, left_out: dict[str, str]) -> str:
    """All of it."""
    missing = ", ".join(f"`{name}`" for name in left_out)
    lines = [
        BEGIN,
        detectors_table(found),
        "",
        f"One thread of {platform.machine()}, OpenCV {cv2.__version__}, every frame to each in "
        "turn; not a Pi's timings. Faces of 40 pixels or more in a frame of 640x480; AP at "
        "IoU 0.5 and 0.3, everything else at 0.3 and the detector's own threshold; 95 % intervals "
        "by bootstrap over scenes. Half-profiles are foreshortened frontal pictures, masks are "
        f"painted; pasted faces are FER2013 crops {SIDES[0]} to {SIDES[1]} pixels wide, found at "
        f"IoU 0.4 and named by `{CLASSIFIER}`."
        + (f" Not on the machine that measured: {missing}." if left_out else ""),
        END,
    ]
    return "\n".join(lines)


def main(
    boxes: Annotated[Path, typer.Option(help="Scenes with a boxes.csv.")],
    groups: Annotated[Path, typer.Option(help="Group photos with a boxes.csv.")],
    scenes: Annotated[Path, typer.Option(help="Scenes without faces; a third is the test part.")],
    faces: Annotated[Path, typer.Option(help="FER2013 with FER+ votes.")],
    detector: Annotated[
        list[str] | None, typer.Option(help="Instead of all that are here.")
    ] = None,
    pasted: Annotated[int, typer.Option(min=1, help="How many faces to paste.")] = _PASTED,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many scenes with boxes: for a quick look.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="File with markers to fill in.")] = None,
) -> None:
    """Measure detectors side by side and print the README's table about them."""
    cv2.setNumThreads(1)
    talk = Talk()
    entrants, left_out = opened(detector or list(DETECTORS), talk)
    if not entrants:
        raise typer.BadParameter("none of these detectors is on this machine")
    found = measured(
        entrants,
        boxes=thinned(read_scenes(boxes), limit),
        groups=read_scenes(groups),
        scenes=without(read_scenes(scenes, split="test"), CROWD),
        faces=faces,
        pasted=pasted,
        talk=talk,
    )
    document = {
        "schema": "edge-fer/detectors/1",
        "machine": {"machine": platform.machine(), "opencv": cv2.__version__, "threads": 1},
        "detectors": found,
        "left_out": left_out,
    }
    if json_file is not None:
        write_text(json_file, json.dumps(document, indent=1, allow_nan=False) + "\n")
    text = section(found, left_out)
    if markdown is None:
        typer.echo(text)
    else:
        fill_in(markdown, BEGIN, END, text)


if __name__ == "__main__":
    typer.run(main)
