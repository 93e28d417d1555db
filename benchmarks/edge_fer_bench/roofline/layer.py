"""A flatbuffer of nothing but an int8 convolution, to find out how fast a machine multiplies.

Written with the plain flatbuffers package, so that it needs no TensorFlow and serves any runtime.
Field and enum numbers are those of TFLite's schema.fbs; the arithmetic is that of its specification
for 8-bit quantisation: symmetric weights with a scale per output channel, int32 bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import TensorQuantisation

__all__ = ["Constants", "Layer", "constants", "flatbuffer"]

_IDENTIFIER = b"TFL3"
_INT8, _INT32 = 9, 2  # schema.fbs: TensorType
_SAME, _RELU = 0, 1  # schema.fbs: Padding, ActivationFunctionType
# schema.fbs: BuiltinOperator and BuiltinOptions of each, and where its weights keep their channels.
_CODES = {"CONV_2D": (3, 1, 0), "DEPTHWISE_CONV_2D": (4, 2, 3)}
_PER_CHANNEL = 3  # version of both operators since weights may have a scale per channel
_ALIGNED = 16  # bytes, for what kernels read


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of stride 1 that keeps the shape ``[1, side, side, channels]``, with ReLU.

    Attributes:
        operator: ``CONV_2D`` has 1x1 weights over all channels, ``DEPTHWISE_CONV_2D`` 3x3 ones
            for each channel alone.
        side: height and width.
        channels: of input and output.
        times: so often in a row, so that copying the input and the output counts for little.
    """

    operator: Literal["CONV_2D", "DEPTHWISE_CONV_2D"]
    side: int
    channels: int
    times: int = 1

    @property
    def name(self) -> str:
        """For people: ``1x1, 24x24x256``."""
        window = "1x1" if self.operator == "CONV_2D" else "3x3 depthwise"
        return f"{window}, {self.side}x{self.side}x{self.channels}"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of input and output."""
        return (1, self.side, self.side, self.channels)

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        """As the schema has them: ``[out, 1, 1, in]`` or ``[1, 3, 3, channels]``."""
        if self.operator == "CONV_2D":
            return (self.channels, 1, 1, self.channels)
        return (1, 3, 3, self.channels)

    @property
    def taps(self) -> int:
        """Multiply-accumulates for one output value."""
        return self.channels if self.operator == "CONV_2D" else 9

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run; those with the border's zeros count too."""
        return self.times * self.side**2 * self.channels * self.taps

    @property
    def moved_bytes(self) -> int:
        """Input, outputs, weights and biases, each once."""
        picture, constants_of_one = self.side**2 * self.channels, self.channels * (self.taps + 4)
        return picture + self.times * (picture + constants_of_one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What a :class:`Layer` is filled with.

    Attributes:
        weights: int8, in ``weights_shape``.
        bias: ``int32[channels]``, in steps of input scale times weight scale.
        weight_scales: ``float32[channels]``.
        picture: scale and zero point of input and outputs.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    weight_scales: NDArray[np.float32]
    picture: TensorQuantisation


def constants(layer: Layer) -> Constants:
    """Random weights, the same every time; outputs of random inputs spread over the int8 range."""
    rng = np.random.default_rng(layer.channels)
    spread = 74.0  # standard deviation of evenly spread int8 values
    # ReLU leaves the upper half: what is left of int8 holds about three standard deviations.
    usual = 255 / 3 / (spread * spread * sqrt(layer.taps))
    bias_steps = int(spread * spread)
    return Constants(
        weights=rng.integers(-127, 128, layer.weights_shape, dtype=np.int8),
        bias=rng.integers(-bias_steps, bias_steps, layer.channels, dtype=np.int32),
        weight_scales=(usual * rng.uniform(0.5, 1.5, layer.channels)).astype(np.float32),
        picture=TensorQuantisation(scale=0.02, zero_point=-100),
    )


def flatbuffer(layer: Layer) -> bytes:
    """The model: the operator ``times`` times, static shapes, int8 in and out."""
    values, file = constants(layer), _Writer()
    number, options_type, channel_axis = _CODES[layer.operator]
    scales = values.weight_scales
    bias_scales = np.float32(values.picture.scale) * scales
    tensors = [
        file.tensor("weights", layer.weights_shape, _INT8, 1, scales, axis=channel_axis),
        file.tensor("bias", (layer.channels,), _INT32, 2, bias_scales),
    ]
    for place in range(layer.times + 1):
        scale, zero = [values.picture.scale], [values.picture.zero_point]
        tensors.append(file.tensor(f"picture_{place}", layer.shape, _INT8, 0, scale, zero))
    operators = [
        file.table(
            {
                1: file.numbers([2 + place, 0, 1], "<i4"),
                2: file.numbers([3 + place], "<i4"),
                3: ("Uint8", options_type),
                4: file.table(_options(layer)),
            }
        )
        for place in range(layer.times)
    ]
    graph = file.table(
        {
            0: file.tables(tensors),
            1: file.numbers([2], "<i4"),
            2: file.numbers([2 + layer.times], "<i4"),
            3: file.tables(operators),
        }
    )
    code = file.table({0: ("Int8", number), 2: ("Int32", _PER_CHANNEL), 3: ("Int32", number)})
    buffers = [
        file.table({}),  # the schema's empty one, for what is computed
        file.table({0: file.data(values.weights.tobytes())}),
        file.table({0: file.data(values.bias.astype("<i4").tobytes())}),
    ]
    return file.finish(
        {
            0: ("Uint32", 3),  # version of the schema
            1: file.tables([code]),
            2: file.tables([graph]),
            4: file.tables(buffers),
        }
    )


def _options(layer: Layer) -> dict[int, int | tuple[str, int]]:
    strided: dict[int, int | tuple[str, int]] = {
        0: ("Int8", _SAME),
        1: ("Int32", 1),
        2: ("Int32", 1),
    }
    if layer.operator == "CONV_2D":
        return strided | {3: ("Int8", _RELU)}
    return strided | {3: ("Int32", 1), 4: ("Int8", _RELU)}  # one output for each channel


class _Writer:
    """A flatbuffer in the making; every method returns the offset of what it wrote."""

    def __init__(self) -> None:
        from flatbuffers import Builder

        self._builder = Builder(1024)

    def table(self, fields: Mapping[int, int | tuple[str, int]]) -> int:
        """Fields by number: an offset, or a scalar with its type."""
        builder = self._builder
        builder.StartObject(max(fields, default=-1) + 1)
        for number, value in fields.items():
            if isinstance(value, int):
                builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                getattr(builder, f"Prepend{value[0]}Slot")(number, value[1], 0)
        return int(builder.EndObject())

    def tables(self, offsets: list[int]) -> int:
        builder = self._builder
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    def numbers(self, values: Any, kind: str) -> int:
        return int(self._builder.CreateNumpyVector(np.asarray(values, kind)))

    def data(self, content: bytes) -> int:
        self._builder.Prep(_ALIGNED, len(content))
        return int(self._builder.CreateByteVector(content))

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        buffer: int,
        scales: Any,
        zero_points: Any = None,
        axis: int = 0,
    ) -> int:
        zero_points = np.zeros(len(scales)) if zero_points is None else zero_points
        quantisation = self.table(
            {
                2: self.numbers(scales, "<f4"),
                3: self.numbers(zero_points, "<i8"),
                6: ("Int32", axis),
            }
        )
        return self.table(
            {
                0: self.numbers(shape, "<i4"),
                1: ("Int8", kind),
                2: ("Uint32", buffer),
                3: int(self._builder.CreateString(name)),
                4: quantisation,
            }
        )

    def finish(self, root: Mapping[int, int | tuple[str, int]]) -> bytes:
        self._builder.Finish(self.table(root), file_identifier=_IDENTIFIER)
        return bytes(self._builder.Output())
