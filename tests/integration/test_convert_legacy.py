"""The target ``legacy``: what is converted for it runs under tflite-runtime 2.14 and numpy 1.26.

``make legacy`` makes that runtime's virtual environment and runs this; without one it is skipped.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import closing
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec
from edge_fer.evaluation.data import load
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer.modelfile import ModelFile, read_model
from edge_fer.models import find
from edge_fer.preprocess import fit
from edge_fer.types import Image
from edge_fer_convert.climbing.ladder import Selection, Workshop
from edge_fer_convert.climbing.recipe import load_recipe
from edge_fer_convert.graph import Graph
from edge_fer_convert.inputs.canonical import canonical
from edge_fer_convert.inputs.imports import import_float
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.int8.verify import dense_scales
from edge_fer_convert.targets.lint import lint
from edge_fer_convert.targets.target import load_target

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / f".venv-legacy-{sys.version_info.major}.{sys.version_info.minor}" / "bin" / "python"
LEGACY = load_target("legacy")
COUNT = 200
LOG = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def old_python() -> Path:
    """Python beside tflite-runtime 2.14."""
    named = os.environ.get("EDGE_FER_LEGACY_PYTHON")
    if named is None and not HERE.exists():
        pytest.skip(f"no {HERE}: make legacy")
    return Path(named or HERE).absolute()


def generated(count: int, seed: int) -> Image:
    """The mean faces of the synthetic camera, each time in another light and with another noise."""
    with np.load(str(files("edge_fer.cameras") / "mean_faces.npz")) as archive:
        means = archive["faces"].astype(np.float64)
    rng = np.random.default_rng(seed)
    chosen = means[np.arange(count) % len(means)]
    gain, shift = rng.uniform(0.9, 1.1, (count, 1, 1)), rng.uniform(-20, 20, (count, 1, 1))
    spoilt = 128 + gain * (chosen - 128) + shift + rng.normal(0, 3, chosen.shape)
    return np.clip(np.rint(spoilt), 0, 255).astype(np.uint8)[..., None]


def faces(data: Path, split: str) -> Image:
    rows = load(data, FERPLUS8, split=split)
    spec = read_model(find("expression.float")).contract.input
    return np.stack([fit(image, spec) for image in rows.images[:COUNT]])


def bench(
    flatbuffer: bytes, contract: ModelContract, calibration: Image, judges: Image
) -> Workshop:
    """For the target ``legacy``; rows are truly what the float model says of them."""
    flatbuffer = canonical(import_float(flatbuffer, "the float model").flatbuffer)
    reference = Candidate(flatbuffer=flatbuffer, contract=contract).probabilities(judges)
    return Workshop(
        flatbuffer=flatbuffer,
        contract=contract,
        calibration=calibration,
        selection=Selection(
            pixels=judges,
            truth=reference.argmax(axis=1),
            labels=contract.labels,
            split="judges",
            reference=reference,
        ),
        per_tensor_dense=LEGACY.per_tensor_dense,
        learning=lambda: calibration,
    )


@pytest.fixture(scope="module", params=["generated", "faces", "peer"])
def shop(request: pytest.FixtureRequest, old_python: Path) -> Workshop:
    """The shipped model on generated faces and on real ones, and one by others with leaky ReLU."""
    model = read_model(find("expression.float"))
    flatbuffer, contract = model.flatbuffer, model.contract.with_(golden=None)
    if request.param == "generated":
        return bench(flatbuffer, contract, generated(COUNT, seed=1), generated(COUNT, seed=2))
    data = request.getfixturevalue("fer2013")
    if request.param == "peer":
        folder = request.getfixturevalue("shared")
        flatbuffer = (folder / "models" / "peer_vicksam_ferplus.tflite").read_bytes()
        contract = ModelContract(
            labels=FERPLUS8,
            label_scheme="ferplus8",
            input=InputSpec(
                height=48, width=48, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
            ),
            output=OutputSpec(kind="logits"),
            licence=Licence(code="see its repository", weights="see its repository"),
        )
    return bench(flatbuffer, contract, faces(data, "Training"), faces(data, "validation"))


def kernel_spread(model: ModelFile) -> float:
    """How far LiteRT's other kernels are from its own golden vectors, in steps."""
    found = []
    for kernels in (OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        make = partial(
            Interpreter, model_content=model.flatbuffer, experimental_op_resolver_type=kernels
        )
        with closing(Classifier(model, InterpreterBackend(make, kernels.name))) as classifier:
            error = classifier.golden_error()
        assert error is not None
        found.append(error[1])
    return max(found)


def test_it_runs_there_and_says_the_same(shop: Workshop, old_python: Path, tmp_path: Path) -> None:
    candidate = shop.make(load_recipe("plain")).candidate
    graph = Graph.read(candidate.flatbuffer)
    assert [f for f in lint(graph, LEGACY) if f.severity == "error"] == []
    assert {scales for _, scales in dense_scales(graph)} <= {1}
    finished = candidate.finish(tmp_path / "model.tflite")
    finished.model.path.write_bytes(finished.data)
    np.save(tmp_path / "pixels.npy", shop.selection.pixels)

    script = Path(__file__).with_name("legacy_target.py")
    done = subprocess.run(
        [old_python, "-I", script, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["runtime"].startswith("tflite-runtime 2.14.")
    assert told["numpy"].startswith("1.26.")
    count, steps = told["golden"]
    assert count == 4
    # A deep net may have no picture on which even LiteRT's kernels stay within one step.
    spread = kernel_spread(finished.model)
    assert steps <= (1 if spread <= 1 else spread + 1)

    theirs = np.load(tmp_path / "probabilities.npy")
    ours = candidate.probabilities(shop.selection.pixels)
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    between = float(np.abs(ours - theirs).mean())
    to_float = [shop.selection.drop(said).mean_abs_dp for said in (ours, theirs)]
    figures = (
        f"{len(ours)} pictures, same labels {same:g}, mean |dp| {between:.5f}; "
        f"to the float model {to_float[0]:.5f} in LiteRT, {to_float[1]:.5f} there"
    )
    LOG.info("%s; LiteRT's kernels: %g; %s", told, spread, figures)
    assert len(theirs) == COUNT
    # Where LiteRT's own kernels part, another runtime's do, too: it need only be as near.
    assert to_float[1] <= 1.2 * to_float[0], figures
    if spread <= 1:
        assert same >= 0.99, figures
        assert between <= 0.003, figures
