"""The process behind :mod:`.finetune`: a flatbuffer's graph as TensorFlow, trained.

Run as ``python -m edge_fer_convert.passes.tuning FOLDER``; the folder holds the task and takes the
result.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer_convert.graph import Graph, Operator, constant, from_object, set_constant, to_object
from edge_fer_convert.operators import RULES
from edge_fer_convert.passes.paths import FUSED
from edge_fer_convert.passes.tunable import TUNABLE, WEIGHTS, activated

__all__ = ["Network"]

_SEED = 20_260_307
_THREADS = 4  # stated, because TensorFlow cuts its sums of floats by it
_HELD_OUT, _MOST_HELD_OUT = 8, 256  # one picture in so many judges, at most so many
_LOOKS = 8  # how often they judge
_WARM_UP = 0.1  # share of the steps
_LEAST = 1e-12
Value = Any  # a tensor of TensorFlow


class Network:
    """A float flatbuffer in TensorFlow, for any batch, with its weights as variables.

    A variable counts in steps of int8: a weight's is that of its channel, a bias's that of the
    layer's output. Adam moves every variable about equally far, whatever its gradient; in units of
    the model itself that is nothing to one channel and ruins another, because the channels of a
    folded or equalised model differ by powers of ten.

    Args:
        tf: the module.
        model: the ``ModelT``.
        ranges: of the activations to round, by tensor number.
        per_tensor_dense: see :func:`edge_fer_convert.int8.quantise.quantise`.
    """

    def __init__(
        self,
        tf: Any,
        model: Any,
        ranges: Mapping[int, tuple[float, float]],
        *,
        per_tensor_dense: bool = False,
    ) -> None:
        self.tf = tf
        self.model = model
        self.graph = Graph.of(model)
        self.ranges = {**ranges, **_fixed_ranges(self.graph)}
        self.per_tensor_dense = per_tensor_dense
        self.variables: dict[int, Value] = {}
        self.units: dict[int, NDArray[np.float32]] = {}
        self.constants: dict[int, NDArray[Any]] = {}
        for operator in self.graph.operators:
            learnt = operator.inputs[WEIGHTS:] if RULES[operator.name].layer else ()
            for number in operator.inputs:
                if number < 0 or self.graph.tensors[number].data is None:
                    continue
                values = constant(model, number)
                if number not in learnt:
                    self.constants[number] = values
                    continue
                if number == operator.inputs[WEIGHTS]:
                    reach = np.abs(values).max(axis=self._others(operator), keepdims=True)
                    unit = np.maximum(reach / 127, _LEAST)
                else:
                    low, high = self.ranges.get(operator.outputs[0], (0.0, 255.0))
                    unit = np.full(1, max(high - low, _LEAST) / 255)
                self.units[number] = unit.astype(np.float32)
                self.variables[number] = tf.Variable(values / self.units[number])

    def __call__(self, pictures: Value, *, rounded: bool) -> Value:
        """``float32[N, h, w, c]`` to the graph's output for each, ``float32[N, C]``.

        Args:
            pictures: as the float model takes them.
            rounded: with the rounding of int8 on the way.
        """
        values: dict[int, Value] = {self.graph.inputs[0]: pictures}
        for operator in self.graph.operators:
            inputs = [self._read(i, operator, values, rounded) for i in operator.inputs if i >= 0]
            result = TUNABLE[operator.name](self.tf, operator, inputs)
            result = activated(self.tf, result, operator.option(FUSED) or 0)
            bounds = self.ranges.get(operator.outputs[0])
            if rounded and bounds is not None and bounds[0] < bounds[1]:
                result = self.tf.quantization.fake_quant_with_min_max_args(
                    result, min=bounds[0], max=bounds[1]
                )
            values[operator.outputs[0]] = result
        return values[self.graph.outputs[0]]

    def tuned(self) -> bytes:
        """The flatbuffer with the present weights."""
        for number, variable in self.variables.items():
            set_constant(self.model, number, variable.numpy() * self.units[number])
        return from_object(self.model)

    def values(self) -> list[NDArray[np.float32]]:
        """A copy of the variables, in their order."""
        return [variable.numpy() for variable in self.variables.values()]

    def set_values(self, values: Sequence[NDArray[np.float32]]) -> None:
        """What :meth:`values` gave."""
        for variable, value in zip(self.variables.values(), values, strict=True):
            variable.assign(value)

    def _read(
        self, number: int, operator: Operator, values: dict[int, Value], rounded: bool
    ) -> Value:
        if number in values:
            return values[number]
        if number not in self.variables:
            return self.constants[number]
        value = self.variables[number] * self.units[number]
        if not rounded or number != operator.inputs[WEIGHTS]:
            return value
        tf = self.tf
        scale = tf.reduce_max(tf.abs(value), axis=self._others(operator), keepdims=True) / 127
        scale = tf.stop_gradient(tf.maximum(scale, _LEAST))
        return value + tf.stop_gradient(tf.round(value / scale) * scale - value)

    def _others(self, operator: Operator) -> tuple[int, ...]:
        """The axes of a layer's weights that share a scale."""
        rank = len(self.graph.tensors[operator.inputs[WEIGHTS]].shape)
        if self.per_tensor_dense and operator.name == "FULLY_CONNECTED":
            return tuple(range(rank))
        # Output channels come first, in depthwise weights last.
        own = rank - 1 if operator.name == "DEPTHWISE_CONV_2D" else 0
        return tuple(axis for axis in range(rank) if axis != own)


def _fixed_ranges(graph: Graph) -> dict[int, tuple[float, float]]:
    """What int8 reaches where the specification fixes an output's scale, by tensor number."""
    found: dict[int, tuple[float, float]] = {}
    for operator in graph.operators:
        rule = RULES[operator.name]
        if rule.fixed is not None:
            scale, zero_point = rule.fixed
            found[operator.outputs[0]] = ((-128 - zero_point) * scale, (127 - zero_point) * scale)
        elif rule.scales == "shared" and operator.inputs[0] in found:
            found[operator.outputs[0]] = found[operator.inputs[0]]
    return found


def _log_probabilities(tf: Any, output: Value, kind: str) -> Value:
    if kind == "probabilities":
        return tf.math.log(tf.maximum(output, 1e-7))
    if kind == "sigmoid":
        p = tf.clip_by_value(output, 1e-7, 1 - 1e-7)
        output = tf.math.log(p / (1 - p))
    return tf.nn.log_softmax(output)


class _Lesson:
    """What is learnt from: pictures, mirrored or not, and what the float model says of them."""

    def __init__(
        self, tf: Any, network: Network, teacher: Network, task: Mapping[str, Any]
    ) -> None:
        self.tf, self.network, self.teacher, self.task = tf, network, teacher, task
        shape = (None, *network.graph.tensors[network.graph.inputs[0]].shape[1:])
        pictures = tf.TensorSpec(shape, tf.float32)
        said = tf.TensorSpec((None, task["classes"]), tf.float32)
        warm_up = round(_WARM_UP * task["steps"])
        self.optimizer = tf.keras.optimizers.Adam(
            tf.keras.optimizers.schedules.CosineDecay(
                initial_learning_rate=0.0,
                decay_steps=max(task["steps"] - warm_up, 1),
                warmup_target=task["learning_rate"],
                warmup_steps=warm_up,
            ),
            # A gradient of a weight that hardly counts is far below the usual 1e-7.
            epsilon=1e-12,
        )
        self.opinion = tf.function(self._opinion, input_signature=[pictures])
        self.loss = tf.function(self._loss, input_signature=[pictures, said])
        self.step = tf.function(self._step, input_signature=[pictures, said])

    def _opinion(self, pictures: Value) -> Value:
        output = self.teacher(pictures, rounded=False)
        return _log_probabilities(self.tf, output, self.task["kind"])

    def _loss(self, pictures: Value, wanted: Value) -> Value:
        """Mean divergence (Kullback-Leibler) of the rounded model from the float one."""
        tf = self.tf
        output = self.network(pictures, rounded=True)
        found = _log_probabilities(tf, output, self.task["kind"])
        return tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - found), axis=-1))

    def _step(self, pictures: Value, wanted: Value) -> Value:
        variables = list(self.network.variables.values())
        with self.tf.GradientTape() as tape:
            loss = self._loss(pictures, wanted)
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def real(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels as the float model takes them."""
        scale, offset = np.float32(self.task["scale"]), np.float32(self.task["offset"])
        return np.asarray(pixels.astype(np.float32) * scale + offset, np.float32)


def _tune(tf: Any, folder: Path, task: Mapping[str, Any]) -> None:
    ranges = {int(number): (low, high) for number, (low, high) in task["ranges"].items()}
    network, teacher = (
        Network(
            tf,
            to_object((folder / name).read_bytes()),
            ranges,
            per_tensor_dense=task["per_tensor_dense"],
        )
        for name in ("float.tflite", "teacher.tflite")
    )
    lesson = _Lesson(tf, network, teacher, task)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    aside = min(len(pixels) // _HELD_OUT, _MOST_HELD_OUT)
    steps, batch = task["steps"], task["batch"]

    order = np.random.default_rng(_SEED)
    lessons = [_drawn(order, len(pixels) - aside, batch) for _ in range(steps)]

    def pictures(number: int) -> NDArray[np.float32]:
        rows, mirrored = lessons[number]
        chosen = pixels[aside:][rows]
        chosen[mirrored] = chosen[mirrored, :, ::-1]
        return lesson.real(chosen)

    opinions = [lesson.opinion(pictures(number)) for number in range(steps)]
    judges = [pixels[i : min(i + batch, aside)] for i in range(0, aside, batch)]
    verdicts = [lesson.opinion(lesson.real(judge)) for judge in judges]

    def judged(done: int) -> float:
        """Divergence on the pictures that are held out."""
        pairs = zip(judges, verdicts, strict=True)
        losses = [len(judge) * float(lesson.loss(lesson.real(judge), w)) for judge, w in pairs]
        _say(f"held out {done} {sum(losses) / aside:.6f}")
        return sum(losses)

    # The best of a few looks, the untouched model among them: a fine-tune may only help.
    best = (judged(0), network.values()) if aside else None
    every = max(steps // _LOOKS, 1)
    for done in range(1, steps + 1):
        loss = float(lesson.step(pictures(done - 1), opinions[done - 1]))
        _say(f"step {done} {loss:.6f}")
        if best is not None and (done % every == 0 or done == steps):
            found = judged(done)
            if found < best[0]:
                best = (found, network.values())
    if best is not None:
        network.set_values(best[1])
    (folder / "tuned.tflite").write_bytes(network.tuned())


def _drawn(
    order: np.random.Generator, count: int, batch: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which of so many pictures make a batch, and which of them are mirrored."""
    return order.choice(count, batch, replace=count < batch), order.random(batch) < 0.5


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _main(folder: Path) -> int:
    try:
        import tensorflow as tf

        # The same bytes every time: sums in one order, whatever the threads do.
        tf.config.experimental.enable_op_determinism()
        tf.config.threading.set_intra_op_parallelism_threads(_THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.keras.utils.set_random_seed(_SEED)
        _tune(tf, folder, json.loads((folder / "task.json").read_text()))
    except Exception:  # TensorFlow raises whatever its kernels raise
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
