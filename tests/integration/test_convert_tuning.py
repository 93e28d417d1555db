"""The fine-tune: TensorFlow computes what LiteRT does, rounding included, and what it learns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec
from edge_fer.errors import ModelError
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer_convert.graph import Graph, from_object, set_constant, to_object
from edge_fer_convert.inputs.canonical import canonical
from edge_fer_convert.inputs.imports import import_float
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.int8.quantise import quantise, tensor_ranges
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.measuring.statistics import measure_statistics
from edge_fer_convert.passes.finetune import finetune
from edge_fer_convert.passes.tunable import TUNABLE
from edge_fer_convert.passes.tuning import Network

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
from flat_graph import NONE, RELU, RELU6, FlatGraph

tensorflow = pytest.importorskip("tensorflow", reason="the extra convert is not installed")

SIDE, WIDE = 12, 6
LABELS = ("anger", "fear", "happiness", "neutral", "sadness")
CONTRACT = ModelContract(
    labels=LABELS,
    label_scheme="custom",
    input=InputSpec(
        height=SIDE, width=SIDE, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
    ),
    output=OutputSpec(kind="logits"),
    licence=Licence(code="none", weights="none"),
)


def pictures(count: int, seed: int) -> np.ndarray:
    """``uint8[count, 12, 12, 1]``: blobs of many contrasts."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (count, 4, 4)).repeat(3, axis=1).repeat(3, axis=2)
    strength = rng.uniform(10, 60, (count, 1, 1))
    noisy = 128 + strength * coarse + rng.normal(0, 12, (count, SIDE, SIDE))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., None]


def real(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


class Wide(FlatGraph):
    """The operators that the small graphs of other tests do without."""

    def options(self, kind: str, **values: Any) -> Any:
        made = getattr(schema, f"{kind}T")()
        for name, value in values.items():
            assert hasattr(made, name)
            setattr(made, name, value)
        return made

    def shaped(self, kind: str, options: Any, inputs: list[int], shape: tuple[int, ...]) -> int:
        name = f"{kind.lower()}_{len(self.graph.tensors)}"
        return self.operator(kind, options, inputs, self.tensor(name, shape))

    def shape(self, x: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[x].shape)


def every_operator() -> bytes:
    """A graph with each operator that can be tuned, strides, dilation and fused activations."""
    rng = np.random.default_rng(3)

    def normal(*shape: int, spread: float = 0.5) -> np.ndarray:
        return rng.normal(0, spread, shape)

    flat = Wide()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    centred = flat.constant("centre", np.full((1, 1, 1, 1), 0.5))
    x = flat.shaped("SUB", flat.options("SubOptions"), [picture, centred], flat.shape(picture))
    gain = flat.constant("gain", np.full((1, 1, 1, 1), 3.0))
    x = flat.shaped("MUL", flat.options("MulOptions"), [x, gain], flat.shape(x))
    x = flat.conv("first", x, normal(WIDE, 3, 3, 1), normal(WIDE), RELU)
    beside = flat.constant("beside", np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    x = flat.shaped("PAD", flat.options("PadOptions"), [x, beside], (1, SIDE + 1, SIDE + 1, WIDE))
    strided = flat.options(
        "Conv2DOptions",
        strideH=2,
        strideW=2,
        padding=schema.Padding.VALID,
        fusedActivationFunction=RELU6,
    )
    inputs = [x, flat.constant("w", normal(WIDE, 3, 3, WIDE)), flat.constant("b", normal(WIDE))]
    x = flat.shaped("CONV_2D", strided, inputs, (1, SIDE // 2, SIDE // 2, WIDE))
    y = flat.leaky("leaky", flat.depthwise("deep", x, normal(1, 3, 3, WIDE), normal(WIDE)))
    dilated = flat.options(
        "Conv2DOptions", strideH=1, strideW=1, dilationHFactor=2, dilationWFactor=2
    )
    inputs = [y, flat.constant("v", normal(WIDE, 3, 3, WIDE)), flat.constant("c", normal(WIDE))]
    y = flat.shaped("CONV_2D", dilated, inputs, flat.shape(y))
    y = flat.operator("HARD_SWISH", flat.options("HardSwishOptions"), [y], flat._like("swish", y))
    x = flat.unary("RELU", "relu", flat.add("sum", x, y))
    half = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    narrow = (1, SIDE // 4, SIDE // 4, WIDE)
    a = flat.shaped("AVERAGE_POOL_2D", flat.options("Pool2DOptions", **half), [x], narrow)
    b = flat.unary("RELU6", "relu6", flat.pool("largest", x))
    both = (*narrow[:3], 2 * WIDE)
    x = flat.shaped("CONCATENATION", flat.options("ConcatenationOptions", axis=3), [a, b], both)
    doubled = flat.options(
        "DepthwiseConv2DOptions",
        strideH=1,
        strideW=1,
        depthMultiplier=2,
        fusedActivationFunction=NONE,
    )
    count = 4 * WIDE
    inputs = [x, flat.constant("d", normal(1, 3, 3, count)), flat.constant("e", normal(count))]
    x = flat.shaped("DEPTHWISE_CONV_2D", doubled, inputs, (*narrow[:3], count))
    x = flat.unary("TANH", "tanh", flat.unary("ELU", "elu", x))
    x = flat.mean("mean", x)
    x = flat.unary("LOGISTIC", "gate", flat.dense("hidden", x, normal(8, count), None))
    shape = flat.constant("shape", np.array([1, 8], np.int32))
    x = flat.shaped("RESHAPE", flat.options("ReshapeOptions", newShape=[1, 8]), [x, shape], (1, 8))
    x = flat.dense("scores", x, normal(len(LABELS), 8, spread=3.0), normal(len(LABELS)))
    return canonical(flat.done([picture], [flat.softmax("probabilities", x)]))


def shipped() -> bytes:
    return canonical(import_float(read_model(find("expression.float")).flatbuffer, "it").flatbuffer)


def small() -> np.ndarray:
    return real(pictures(48, seed=1))


def mean_faces() -> np.ndarray:
    """The eight mean faces of the synthetic camera, in six lights."""
    with np.load(str(files("edge_fer.cameras") / "mean_faces.npz")) as archive:
        means = archive["faces"].astype(np.float32)
    lit = np.concatenate([128 + gain * (means - 128) for gain in (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)])
    return real(np.clip(np.rint(lit), 0, 255).astype(np.uint8)[..., None])


def ranges_of(model: bytes, inputs: np.ndarray) -> Ranges:
    return measure_statistics(model, (picture[None] for picture in inputs)).ranges("minmax")


def answers(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """What LiteRT computes, ``float32[N, C]``; int8 dequantised."""
    graph = Graph.read(model)
    name = graph.tensors[graph.outputs[0]].name
    probe = Probe(model, [name])
    return np.concatenate([probe(picture[None])[name] for picture in inputs])


CASES = pytest.mark.parametrize(
    ("make", "give"),
    [pytest.param(every_operator, small, id="every"), pytest.param(shipped, mean_faces, id="real")],
)


def test_the_graph_has_every_operator_that_can_be_tuned() -> None:
    assert {o.name for o in Graph.read(every_operator()).operators} == set(TUNABLE)


@CASES
def test_without_rounding_it_computes_what_litert_does(
    make: Callable[[], bytes], give: Callable[[], np.ndarray]
) -> None:
    model, inputs = make(), give()
    network = Network(tensorflow, to_object(model), {})
    found = network(inputs, rounded=False).numpy()
    assert np.abs(found - answers(model, inputs)).max() < 1e-4
    assert np.abs(answers(network.tuned(), inputs) - answers(model, inputs)).max() < 1e-4


@CASES
def test_with_rounding_it_is_near_the_int8_model(
    make: Callable[[], bytes], give: Callable[[], np.ndarray]
) -> None:
    model, inputs = make(), give()
    ranges = ranges_of(model, inputs)
    int8 = quantise(model, ranges)
    graph = Graph.read(int8)
    network = Network(tensorflow, to_object(model), tensor_ranges(Graph.read(model), ranges))
    found = network(inputs, rounded=True).numpy()
    step = graph.tensors[graph.outputs[0]].scales[0]
    off = np.abs(found - answers(int8, inputs)) / step
    assert off.max() <= 3.01, off.max()
    # It foretells most of what rounding does, not only that it does little.
    harm = np.abs(answers(model, inputs) - answers(int8, inputs)) / step
    assert off.mean() < 0.5 * harm.mean(), (off.mean(), harm.mean())


def fragile() -> bytes:
    """Layers whose weights get few steps of int8, for the sake of weights that nothing reaches.

    The first channel of each layer never fires, and what reads it reaches 60 times as far as the
    rest. The scores are centred and scaled, so that every class is said of some pictures.
    """
    rng = np.random.default_rng(2)
    flat = FlatGraph()
    x = picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    for name, before in (("first", 1), ("second", 16), ("third", 16)):
        weights = rng.normal(0, np.sqrt(2 / (9 * before)), (16, 3, 3, before))
        bias = rng.normal(0, 0.1, 16)
        if before > 1:
            weights[..., 0] *= 60
        weights[0], bias[0] = 0, -1
        x = flat.conv(name, x, weights, bias, RELU)
        x = x if before == 1 else flat.pool(f"{name}/pool", x)
    weights = rng.normal(0, 1, (len(LABELS), 9 * 16))
    scores = flat.dense("scores", x, weights, np.zeros(len(LABELS)))
    model = to_object(flat.done([picture], [scores]))
    said = answers(from_object(model), real(pictures(200, seed=8)))
    dense = model.subgraphs[0].operators[-1]
    spread = said.std(axis=0) / 2
    set_constant(model, dense.inputs[1], weights / spread[:, None])
    set_constant(model, dense.inputs[2], -said.mean(axis=0) / spread)
    return canonical(from_object(model))


class Tuning:
    """One fine-tune of the fragile net, and what was heard of it."""

    def __init__(self, *, steps: int, learning_rate: float) -> None:
        self.model = fragile()
        self.ranges = ranges_of(self.model, real(pictures(64, seed=4)))
        self.lines: list[str] = []
        self.steps: list[int] = []
        self.tuned = finetune(
            self.model,
            CONTRACT,
            tensor_ranges(Graph.read(self.model), self.ranges),
            pictures(512, seed=5),
            steps=steps,
            learning_rate=learning_rate,
            on_step=self.steps.append,
            on_log=self.lines.append,
        )

    def held_out(self) -> list[float]:
        """The losses on pictures that are held out, in order."""
        return [float(line.split()[-1]) for line in self.lines if line.startswith("held out")]

    def agreement(self, model: bytes) -> float:
        """Share of fresh pictures that int8 gives the float model's label."""
        fresh = pictures(600, seed=6)
        original = Candidate(flatbuffer=self.model, contract=CONTRACT)
        int8 = Candidate.quantised(model, CONTRACT, self.ranges)
        said = [c.probabilities(fresh).argmax(axis=1) for c in (original, int8)]
        return float((said[0] == said[1]).mean())


@pytest.fixture(scope="module")
def learnt() -> Tuning:
    return Tuning(steps=60, learning_rate=0.02)


def test_sixty_steps_mend_a_net_that_quantises_badly(learnt: Tuning) -> None:
    losses = learnt.held_out()
    assert learnt.steps == list(range(1, 61))
    assert min(losses) < 0.4 * losses[0], losses
    before, after = learnt.agreement(learnt.model), learnt.agreement(learnt.tuned)
    assert before < 0.7
    assert after > before + 0.1, (before, after)


def test_the_same_task_gives_the_same_bytes_on_one_core(learnt: Tuning) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # its process inherits it
    try:
        again = Tuning(steps=60, learning_rate=0.02)
    finally:
        os.sched_setaffinity(0, cores)
    assert again.held_out() == learnt.held_out()
    assert again.tuned == learnt.tuned


def test_steps_that_only_harm_are_taken_back() -> None:
    wild = Tuning(steps=8, learning_rate=40.0)
    losses = wild.held_out()
    assert min(losses) == losses[0] < losses[-1]
    inputs = real(pictures(8, seed=7))
    assert np.abs(answers(wild.tuned, inputs) - answers(wild.model, inputs)).max() < 1e-4


def test_what_cannot_be_tuned_is_named() -> None:
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    model = flat.done([picture], [flat.unary("EXP", "growth", picture)])
    with pytest.raises(ModelError, match="EXP cannot be fine-tuned"):
        finetune(model, CONTRACT, {}, pictures(4, seed=1), steps=1, learning_rate=0.1)


def test_tensorflows_last_words_are_passed_on() -> None:
    lines: list[str] = []
    colourful = np.zeros((16, SIDE, SIDE, 3), np.uint8)  # the net takes one channel
    task = partial(finetune, fragile(), CONTRACT, {}, colourful, steps=1, learning_rate=0.1)
    with pytest.raises(ModelError, match="TensorFlow gave up on the fine-tune"):
        task(on_log=lines.append)
    assert any("Traceback" in line for line in lines)


FOREVER = """
from test_convert_tuning import CONTRACT, fragile, pictures
from edge_fer_convert.passes.finetune import finetune
finetune(fragile(), CONTRACT, {}, pictures(64, seed=5), steps=3000, learning_rate=1e-3)
"""


def test_ctrl_c_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    paths = [str(Path(__file__).parent), *(entry for entry in sys.path if entry)]
    process = subprocess.Popen(
        [sys.executable, "-c", FOREVER],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not running(tmp_path):
        assert process.poll() is None
        time.sleep(0.05)
    # To it alone, so that the other one has not heard of it; that one imports TensorFlow and says
    # nothing for seconds, so no broken pipe ends it either.
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def running(folder: Path) -> list[str]:
    """Fine-tuning processes that work in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        if "edge_fer_convert.passes.tuning" in words and any(str(folder) in w for w in words):
            found.append(" ".join(words))
    return found
