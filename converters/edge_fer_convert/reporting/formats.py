"""The same float model in the formats that other exporters offer, side by side.

The only module that knows ai-edge-quantizer: it holds its recipes for the formats that need no
calibration. ``float16`` stores the weights in half
precision and computes in float32. ``dynamic`` stores int8 weights and scales activations anew in
each inference; its dense layers have one scale each, because old runtimes compute wrong
probabilities, without a word, where they have one per channel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import ModelContract
from edge_fer.errors import ConfigError, MissingExtra, ModelError
from edge_fer.evaluation.drop import measure_drop
from edge_fer.quiet import hushed_stderr
from edge_fer.types import Image
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.reporting.latency import latencies_ms

__all__ = ["FORMATS", "FormatRow", "convert_formats", "measure_formats", "parse_formats"]

FORMATS = ("float32", "float16", "dynamic", "int8")
"""In the order of the table; ``float32`` is the reference and always in it."""

_OTHER_NAMES = {"float": "float32", "fp32": "float32", "fp16": "float16", "half": "float16"}
_NOTES = {
    "float32": "the model as exported, the reference",
    "float16": "half-precision weights, computes in float32; not for the Edge TPU",
    "dynamic": "int8 weights, activations scaled in each inference, float input and output; "
    "not for the Edge TPU",
    "int8": "int8 weights, activations, input and output: what this conversion delivers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRow:
    """One line of the table.

    Attributes:
        format: one of :data:`FORMATS`.
        bytes: of the flatbuffer, without contract.
        latency_ms: median of one inference on this host, or None where it was not timed.
        n: pictures that the following figures are of.
        accuracy: fraction that is right.
        agreement: fraction that gets the same label as from ``float32``.
        drop_points: accuracy of ``float32`` less this one's, in points.
        ci95_points: score interval of the drop for paired rows (Tango 1998).
        mean_abs_dp: mean change of a probability against ``float32``.
        note: what it is good for.
    """

    format: str
    bytes: int
    latency_ms: float | None
    n: int
    accuracy: float
    agreement: float
    drop_points: float
    ci95_points: tuple[float, float]
    mean_abs_dp: float
    note: str

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "ci95_points": list(self.ci95_points)}


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats of ``--formats float,fp16,dynamic,int8``, in the order of :data:`FORMATS`.

    Raises:
        ConfigError: a name that is none.
    """
    wanted = [name.strip().lower() for name in text.split(",") if name.strip()]
    names = {_OTHER_NAMES.get(name, name) for name in wanted}
    unknown = sorted(names - set(FORMATS))
    if unknown or not names:
        raise ConfigError(
            f"There is no format {', '.join(unknown)}." if unknown else "No format is named.",
            "Known: float, fp16, dynamic, int8.",
        )
    return tuple(name for name in FORMATS if name in names)


def convert_formats(
    float_flatbuffer: bytes, names: Iterable[str], *, int8: bytes | None = None
) -> dict[str, bytes]:
    """The model in each format, ``float32`` first.

    The same model always gives the same bytes.

    Args:
        float_flatbuffer: the float model, without a contract.
        names: of :data:`FORMATS`.
        int8: the int8 model, which needs calibration and is therefore made elsewhere.

    Raises:
        ConfigError: an unknown name, or ``int8`` without its model.
        MissingExtra: ai-edge-quantizer is not installed.
        ModelError: not a float32 model, or it cannot convert this graph.
    """
    wanted = set(names)
    unknown = sorted(wanted - set(FORMATS))
    if unknown:
        raise ConfigError(
            f"There is no format {', '.join(unknown)}.", f"Known: {', '.join(FORMATS)}."
        )
    if "int8" in wanted and int8 is None:
        raise ConfigError(
            "The format int8 needs the int8 model.", "Convert it first and hand it over."
        )
    graph = Graph.read(float_flatbuffer)
    stored = {t.dtype for t in graph.tensors} - {"BOOL", "INT32", "INT64"}
    if stored != {"FLOAT32"}:
        raise ModelError(
            f"Formats are made of a float32 model; this one holds {', '.join(sorted(stored))}.",
            "Give the float model that it was made from.",
        )
    made = {"float32": float_flatbuffer}
    for name in FORMATS:
        if name == "int8" and name in wanted and int8 is not None:
            made[name] = int8
        elif name != "float32" and name in wanted:
            made[name] = _converted(float_flatbuffer, name)
    return made


def measure_formats(
    files: Mapping[str, bytes],
    contract_float: ModelContract,
    contract_int8: ModelContract,
    pixels: Image,
    truth: NDArray[np.int64],
    *,
    known: Mapping[str, NDArray[np.float64]] | None = None,
    timed: bool = True,
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[FormatRow, ...]:
    """Size, latency here, accuracy and agreement of each format, by the deployed runtime.

    Args:
        files: from :func:`convert_formats`; ``float32`` must be among them.
        contract_float: of every format but int8.
        contract_int8: of the int8 model.
        pixels: ``uint8[N, h, w, c]``, what the model sees.
        truth: ``int64[N]``, index into the labels.
        known: probabilities ``float64[N, C]`` on these pictures, where a format has them already.
        timed: whether to take the latency.
        on_done: told how many pictures have been run, over all formats.

    Raises:
        ConfigError: ``float32`` is missing.
        ModelError: LiteRT does not take one of the files.
    """
    if "float32" not in files:
        raise ConfigError("Without float32 there is nothing to compare with.", "Add float32.")
    probabilities = dict(known or {})
    ran = 0
    for name, flatbuffer in files.items():
        if name not in probabilities:
            contract = contract_int8 if name == "int8" else contract_float
            candidate = Candidate(flatbuffer=flatbuffer, contract=contract)
            probabilities[name] = candidate.probabilities(pixels, on_done=_after(ran, on_done))
            ran += len(pixels)
    latencies = latencies_ms(files) if timed else {}
    return tuple(
        _row(name, files[name], latencies.get(name), probabilities, truth, contract_float.labels)
        for name in FORMATS
        if name in files
    )


def _row(
    name: str,
    flatbuffer: bytes,
    latency_ms: float | None,
    probabilities: Mapping[str, NDArray[np.float64]],
    truth: NDArray[np.int64],
    labels: Sequence[str],
) -> FormatRow:
    drop = measure_drop(probabilities["float32"], probabilities[name], truth, tuple(labels))
    return FormatRow(
        format=name,
        bytes=len(flatbuffer),
        latency_ms=latency_ms,
        n=drop.n,
        accuracy=drop.quantised.accuracy,
        agreement=drop.agreement,
        drop_points=drop.drop_points,
        ci95_points=drop.ci95_points,
        mean_abs_dp=drop.mean_abs_dp,
        note=_NOTES[name],
    )


def _after(before: int, on_done: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: on_done(before + done)


def _converted(flatbuffer: bytes, name: str) -> bytes:
    try:
        from ai_edge_quantizer import quantizer
    except ImportError as err:
        raise MissingExtra(
            f"ai-edge-quantizer cannot be loaded ({err}).",
            "Install it with: pip install 'edge-fer[convert]'",
        ) from err
    try:
        engine = quantizer.Quantizer(flatbuffer, _recipe(name))
        with warnings.catch_warnings(), hushed_stderr():
            warnings.simplefilter("ignore", UserWarning)
            result = engine.quantize(enable_progress_bar=False, enable_progress_report=False)
    except (RuntimeError, ValueError, KeyError, TypeError, NotImplementedError) as err:
        raise ModelError(
            f"The graph cannot be written as {name}: {(str(err) or repr(err)).splitlines()[0]}",
            f"Leave {name} out of --formats.",
        ) from err
    return bytes(result.quantized_model)


def _recipe(name: str) -> Any:
    """ai-edge-quantizer's rules for a format; later rules override earlier ones."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    rules = recipe_manager.RecipeManager()
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    if name == "float16":
        rules.add_weight_only_config(
            regex=".*",
            operation_name=everything,
            num_bits=16,
            algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
        )
    else:
        rules.add_dynamic_config(regex=".*", operation_name=everything, num_bits=8)
        rules.add_dynamic_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            num_bits=8,
            granularity=qtyping.QuantGranularity.TENSORWISE,
        )
    return rules.get_quantization_recipe()
