"""Every backend, real and fake, keeps the same promises."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from stub_delegate import build_stub, compiled_stand_in

from edge_fer.backends import BACKENDS, open_backend
from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.backends.base import Backend
from edge_fer.backends.edgetpu import EdgeTpuBackend
from edge_fer.backends.fake import FakeBackend
from edge_fer.backends.fallback import FallbackBackend
from edge_fer.errors import ConfigError, EdgeFerError, MissingExtra, ModelError
from edge_fer.modelfile import read_model
from edge_fer.models import find

MODEL = read_model(find("expression"))
MODULES = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}


def fake() -> Backend:
    real = open_backend("auto", MODEL.flatbuffer)
    return FakeBackend(real.input, real.outputs, real.run)


def edgetpu() -> Backend:
    """On the stub library; a temporary folder may go once the library is loaded."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STUB_DELEGATE", "works")
        library = str(build_stub(Path(folder)))
        return EdgeTpuBackend(compiled_stand_in(MODEL.flatbuffer), library=library)


def fallback() -> Backend:
    return FallbackBackend(fake, open_backend("auto", MODEL.flatbuffer))


def fallen() -> Backend:
    never = 1e6
    cpu = open_backend("auto", MODEL.flatbuffer)
    return FallbackBackend(fake, cpu, why="It is not there.", first_pause=never)


def makers() -> list[pytest.param]:  # type: ignore[valid-type]
    litert = importlib.util.find_spec(MODULES["litert"]) is not None
    found = [
        pytest.param(fake, id="fake"),
        pytest.param(fallback, id="fallback"),
        pytest.param(fallen, id="fallen"),
        pytest.param(
            edgetpu,
            id="edgetpu",
            marks=[] if litert else [pytest.mark.skip(reason="litert is not installed")],
        ),
    ]
    for name in BACKENDS:
        here = importlib.util.find_spec(MODULES[name]) is not None
        found.append(
            pytest.param(
                lambda name=name: open_backend(name, MODEL.flatbuffer),
                id=name,
                marks=[] if here else [pytest.mark.skip(reason=f"{name} is not installed")],
            )
        )
    return found


@pytest.fixture(params=makers())
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    make: Callable[[], Backend] = request.param
    made = make()
    yield made
    made.close()


def face(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (1, 48, 48, 1)).astype(np.int8)


def test_it_says_what_it_takes_and_gives(backend: Backend) -> None:
    assert backend.name
    assert backend.input.shape == (1, 48, 48, 1)
    assert backend.input.dtype == np.int8
    assert backend.input.quantisation == MODEL.contract.quantisation.input
    assert [o.shape for o in backend.outputs] == [(1, 8)]


def test_run_gives_the_outputs_in_shape_and_type(backend: Backend) -> None:
    outputs = backend.run(face())
    assert len(outputs) == len(backend.outputs)
    for array, spec in zip(outputs, backend.outputs, strict=True):
        assert array.shape == spec.shape
        assert array.dtype == spec.dtype


def test_the_same_input_gives_the_same_output_and_results_do_not_alias(backend: Backend) -> None:
    first = backend.run(face(1))[0]
    kept = first.copy()
    backend.run(face(2))
    assert np.array_equal(first, kept)
    assert np.array_equal(backend.run(face(1))[0], kept)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 48, 48, 1), np.uint8),
        np.zeros((1, 48, 48, 1), np.float32),
        np.zeros((48, 48), np.int8),
        np.zeros((2, 48, 48, 1), np.int8),
    ],
    ids=["uint8", "float32", "no batch", "batch of 2"],
)
def test_another_shape_or_type_is_refused(backend: Backend, wrong: np.ndarray) -> None:
    with pytest.raises(ModelError, match="takes int8"):
        backend.run(wrong)


def test_close_twice_is_fine_and_run_after_it_is_an_error(backend: Backend) -> None:
    backend.close()
    backend.close()
    with pytest.raises(EdgeFerError, match="closed"):
        backend.run(face())


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="litert"):
        open_backend("tensorrt", MODEL.flatbuffer)


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="tflite-runtime 2.14 leaves int8 models to its own kernels",
)
def test_the_name_states_threads_and_whether_xnnpack_runs() -> None:
    two = open_backend("litert", MODEL.flatbuffer, threads=2)
    assert two.name.endswith(", XNNPACK, 2 threads")
    assert open_backend("litert", MODEL.flatbuffer).name.endswith(", XNNPACK, 1 thread")


class Untold:
    """An interpreter that does not tell what it executes."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name == "_get_ops_details":
            raise AttributeError(name)
        return getattr(self._real, name)


def test_what_a_runtime_does_not_tell_is_not_claimed() -> None:
    module = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = module.Interpreter
    flatbuffer = MODEL.flatbuffer
    untold = InterpreterBackend(
        lambda: Untold(interpreter(model_content=flatbuffer)), "some", threads=2
    )
    assert untold.name == "some, 2 threads"
    without = interpreter(
        model_content=flatbuffer, experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF
    )
    assert InterpreterBackend(lambda: without, "some", threads=1).name == "some, 1 thread"


def test_threads_do_not_change_the_answer() -> None:
    one = open_backend("auto", MODEL.flatbuffer, threads=1).run(face())
    two = open_backend("auto", MODEL.flatbuffer, threads=2).run(face())
    assert np.array_equal(one[0], two[0])


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="tflite-runtime checks nothing and crashes; read_model refuses such files before it",
)
@pytest.mark.parametrize("cut", [8, 300, 100_000])
def test_a_damaged_graph_is_an_error_not_a_crash(cut: int) -> None:
    with pytest.raises(ModelError):
        open_backend("litert", MODEL.flatbuffer[:cut])


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_runtime") is not None, reason="tflite-runtime is installed"
)
def test_a_runtime_that_is_missing_says_how_to_install_it() -> None:
    with pytest.raises(MissingExtra, match="constraints"):
        open_backend("tflite-runtime", MODEL.flatbuffer)
