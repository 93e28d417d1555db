"""A short fine-tune in which the model feels its own rounding (quantisation-aware training).

Jacob et al., arXiv:1712.05877, section 3: weights and activations pass through int8 rounding on
the way forward, gradients pass straight through. It starts from the float flatbuffer, whose batch
normalisation is folded already, so that whatever form the model came in, what is trained is
exactly what is quantised. The float model teaches (Hinton et al., arXiv:1503.02531): labels are
not needed, and the tuned model's opinions stay those of the original. The ranges stay as measured.
Some of the pictures are held out, and of a few looks at them the best is kept, the first of them
before any step: where rounding does no harm that training could mend, nothing changes.

TensorFlow stays in a process of its own, :mod:`edge_fer_convert.passes.tuning`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edge_fer.contract import ModelContract
from edge_fer.errors import MissingExtra, ModelError
from edge_fer.types import Image
from edge_fer_convert.child import child_environment, scratch_folder
from edge_fer_convert.graph import Graph
from edge_fer_convert.passes.tunable import TUNABLE

__all__ = ["BATCH", "finetune"]

BATCH = 32
_LAST_LINES = 5


def finetune(
    flatbuffer: bytes,
    contract: ModelContract,
    ranges: Mapping[int, tuple[float, float]],
    pixels: Image,
    *,
    steps: int,
    learning_rate: float,
    teacher: bytes | None = None,
    per_tensor_dense: bool = False,
    on_step: Callable[[int], None] = lambda done: None,
    on_log: Callable[[str], None] = lambda line: None,
) -> bytes:
    """Tune the weights of a float model to their int8 form.

    Args:
        flatbuffer: the float model in canonical form.
        contract: its input and output.
        ranges: that its activations will be quantised with, by tensor number
            (:func:`edge_fer_convert.int8.quantise.tensor_ranges`).
        pixels: ``uint8[N, h, w, c]`` pictures to learn from, none of them for evaluation.
        steps: how many batches of :data:`BATCH`.
        learning_rate: of Adam at its highest, in steps of int8: after a warm-up, before a cosine.
        teacher: the float model whose opinions are learnt, where ``flatbuffer`` is not that any
            more: its biases were corrected for int8.
        per_tensor_dense: see :func:`edge_fer_convert.int8.quantise.quantise`.
        on_step: told how many batches are done.
        on_log: told of each other line of the process.

    Returns:
        A float model in the same form. The same arguments give the same bytes.

    Raises:
        ModelError: an operator cannot be tuned, or TensorFlow gave up.
        MissingExtra: TensorFlow is not installed.
    """
    graph = Graph.read(flatbuffer)
    for operator in graph.operators:
        if operator.name not in TUNABLE:
            raise ModelError(f"{operator.name} cannot be fine-tuned.", "Use another --recipe.")
    if find_spec("tensorflow") is None:
        raise MissingExtra(
            "Fine-tuning needs tensorflow, which is not installed.",
            "Install it with: pip install 'edge-fer[convert]'",
        )
    task = {
        "ranges": ranges,
        "scale": contract.input.scale,
        "offset": contract.input.offset,
        "kind": contract.output.kind,
        "classes": len(contract.labels),
        "batch": BATCH,
        "steps": steps,
        "learning_rate": learning_rate,
        "per_tensor_dense": per_tensor_dense,
    }
    with scratch_folder() as folder:
        (folder / "float.tflite").write_bytes(flatbuffer)
        (folder / "teacher.tflite").write_bytes(teacher or flatbuffer)
        (folder / "task.json").write_text(json.dumps(task))
        np.save(folder / "pixels.npy", pixels)
        lines = _run(folder, on_step, on_log)
        result = folder / "tuned.tflite"
        if not result.exists():
            said = " | ".join(lines[-_LAST_LINES:]) or "it said nothing"
            raise ModelError(
                f"TensorFlow gave up on the fine-tune: {said}",
                "Run it again with -v to see everything that TensorFlow said.",
            )
        return result.read_bytes()


def _run(folder: Path, on_step: Callable[[int], None], on_log: Callable[[str], None]) -> list[str]:
    lines = []
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "edge_fer_convert.passes.tuning", str(folder)],
        env=child_environment(str(folder)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101
        try:
            for line in process.stdout:
                words = line.split()
                if words[:1] == ["step"]:
                    on_step(int(words[1]))
                lines.append(line.rstrip())
                on_log(lines[-1])
        except BaseException:
            # Ctrl-C among them, which need not have reached the process itself.
            process.kill()
            raise
    return lines
