"""The Edge TPU's delegate, with a stub library: each way in which it fails, and one that works."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
from stub_delegate import build_stub, compiled_stand_in

from edge_fer.backends import open_backend
from edge_fer.backends.compiled import compiled_beside, is_compiled
from edge_fer.backends.coral import find_corals, may_use
from edge_fer.backends.edgetpu import EdgeTpuBackend
from edge_fer.backends.fallback import FallbackBackend
from edge_fer.backends.probe import probe_delegate
from edge_fer.errors import DeviceError, ModelError
from edge_fer.modelfile import embed
from edge_fer.models import load

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="the stand-in for a compiled model is written with ai-edge-litert",
)
MODEL = load("expression")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_stub(tmp_path_factory.mktemp("stub")))


@pytest.fixture(scope="module")
def compiled() -> bytes:
    return compiled_stand_in(MODEL.flatbuffer)


@pytest.fixture
def works(stub: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STUB_DELEGATE", "works")
    return stub


def face(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (1, 48, 48, 1)).astype(np.int8)


def usb(root: Path, identity: str, *, node: bool = True, mode: int = 0o660) -> Path:
    device = root / "sys/bus/usb/devices/1-1"
    device.mkdir(parents=True)
    vendor, product = identity.split(":")
    for name, text in {
        "idVendor": vendor,
        "idProduct": product,
        "busnum": "1",
        "devnum": "12",
    }.items():
        (device / name).write_text(text + "\n")
    (root / "dev/bus/usb/001").mkdir(parents=True)
    path = root / "dev/bus/usb/001/012"
    if node:
        path.touch()
        path.chmod(mode)
    return path


def for_others(path: Path) -> bool:
    """As for a user who is in no group; the tests may run as root, who may all."""
    return path.stat().st_mode & 0o006 == 0o006


def test_no_coral_where_the_kernel_shows_none(tmp_path: Path) -> None:
    assert find_corals(tmp_path) == ()
    usb(tmp_path, "1d6b:0002")
    assert find_corals(tmp_path) == ()


@pytest.mark.parametrize(("identity", "firmware"), [("1a6e:089a", False), ("18d1:9302", True)])
def test_a_usb_coral_by_both_of_its_identities(
    tmp_path: Path, identity: str, firmware: bool
) -> None:
    node = usb(tmp_path, identity)
    (coral,) = find_corals(tmp_path, for_others)
    assert (coral.bus, coral.identity, coral.node) == ("usb", identity, node)
    assert (coral.present, coral.permitted, coral.firmware) == (True, False, firmware)
    assert identity in coral.words
    node.chmod(0o666)
    assert find_corals(tmp_path, for_others)[0].permitted
    assert find_corals(tmp_path, may_use)[0].permitted


def test_a_pcie_coral_needs_its_drivers_node(tmp_path: Path) -> None:
    card = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x1ac1\n")
    (card / "device").write_text("0x089a\n")
    (coral,) = find_corals(tmp_path)
    assert (coral.bus, coral.present, coral.permitted) == ("pcie", False, False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()
    assert find_corals(tmp_path)[0].present


def test_a_library_that_is_absent() -> None:
    found = probe_delegate("libno-such-thing.so.1")
    assert (found.ok, found.cause, found.passing) == (False, "no_library", False)
    assert "libno-such-thing.so.1: cannot open shared object file" in found.reason
    assert "libedgetpu" in found.remedy


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("not a library")
    assert probe_delegate(str(tmp_path / "text.so")).cause == "no_library"


def test_a_library_that_is_no_delegate(compiled: bytes) -> None:
    found = probe_delegate("libm.so.6")
    assert found.cause == "no_library"
    assert "tflite_plugin_create_delegate" in found.reason
    with pytest.raises(DeviceError, match="no delegate"):
        EdgeTpuBackend(compiled, library="libm.so.6")


def test_other_threads_go_on_while_a_device_is_opened(
    works: str, compiled: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    busy = tmp_path / "busy"
    busy.touch()
    monkeypatch.setenv("STUB_DELEGATE_BUSY", str(busy))
    plain = open_backend("litert", MODEL.flatbuffer)
    opened: list[EdgeTpuBackend] = []
    thread = threading.Thread(target=lambda: opened.append(EdgeTpuBackend(compiled, library=works)))
    thread.start()
    for _ in range(20):
        plain.run(face())
    assert not opened  # the runs did not wait for it
    busy.unlink()
    thread.join(30)
    assert np.array_equal(opened[0].run(face())[0], plain.run(face())[0])
    opened[0].close()


@pytest.mark.parametrize(("mode", "name"), [("abort", "SIGABRT"), ("segfault", "SIGSEGV")])
def test_a_library_of_another_tensorflow_crashes_in_the_other_process_only(
    stub: str, monkeypatch: pytest.MonkeyPatch, mode: str, name: str
) -> None:
    monkeypatch.setenv("STUB_DELEGATE", mode)
    found = probe_delegate(stub)
    assert (found.ok, found.cause, found.passing) == (False, "crashed", False)
    assert name in found.reason


def test_a_library_that_hangs_is_given_up(stub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_DELEGATE", "hang")
    found = probe_delegate(stub, timeout=1.0)
    assert (found.ok, found.cause, found.passing) == (False, "hung", True)
    assert "1 s" in found.reason


def test_no_device(stub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STUB_DELEGATE", "null")
    found = probe_delegate(stub, root=tmp_path)
    assert (found.cause, found.passing) == ("no_device", True)
    assert "lsusb" in found.remedy


def test_the_kernels_view_tells_why_there_is_no_device(
    stub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUB_DELEGATE", "null")
    usb(tmp_path / "a", "1a6e:089a", node=False)
    assert probe_delegate(stub, root=tmp_path / "a").cause == "no_driver"
    usb(tmp_path / "b", "1a6e:089a")
    found = probe_delegate(stub, root=tmp_path / "b", may=for_others)
    assert found.cause == "no_permission"
    assert "usermod -aG plugdev" in found.remedy
    found = probe_delegate(stub, root=tmp_path / "b", may=lambda node: True)
    assert (found.cause, found.passing) == ("no_firmware", True)
    usb(tmp_path / "c", "18d1:9302")
    found = probe_delegate(stub, root=tmp_path / "c", may=lambda node: True)
    assert found.cause == "refused"
    assert "another process" in found.reason


def test_one_that_works_runs_a_compiled_model(works: str, compiled: bytes) -> None:
    assert probe_delegate(works).ok
    assert probe_delegate(works, model=compiled).ok


def test_a_model_that_the_library_does_not_run(works: str, compiled: bytes) -> None:
    other = compiled.replace(b"edgetpu-custom-op", b"edgetpu-custom-ox")
    found = probe_delegate(works, model=other)
    assert (found.cause, found.passing) == ("wrong_model", False)
    assert "unresolved custom op" in found.reason


def test_the_backend_gives_the_plain_models_answers(works: str, compiled: bytes) -> None:
    plain, tpu = open_backend("litert", MODEL.flatbuffer), EdgeTpuBackend(compiled, library=works)
    assert tpu.name.startswith(f"edgetpu ({works}) on litert ")
    assert tpu.input.shape == plain.input.shape
    assert tpu.outputs == plain.outputs
    for seed in range(3):
        assert np.array_equal(tpu.run(face(seed))[0], plain.run(face(seed))[0])
    tpu.close()
    tpu.close()
    with pytest.raises(ModelError, match="closed"):
        tpu.run(face())


def test_a_device_that_is_pulled_out_is_a_device_error(
    works: str, compiled: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUB_DELEGATE_LOST", str(tmp_path / "lost"))
    tpu = EdgeTpuBackend(compiled, library=works)
    tpu.run(face())
    assert EdgeTpuBackend.known(works) is not None
    (tmp_path / "lost").touch()
    with pytest.raises(DeviceError, match=r"The device is gone"):
        tpu.run(face())
    assert EdgeTpuBackend.known(works) is None
    tpu.close()
    with pytest.raises(DeviceError, match="found no Edge TPU"):
        EdgeTpuBackend(compiled, library=works)


def test_a_library_is_known_to_be_good_while_one_of_its_models_runs(
    works: str, compiled: bytes
) -> None:
    first, second = (EdgeTpuBackend(compiled, library=works) for _ in range(2))
    first.close()
    first.close()
    found = EdgeTpuBackend.known(works)
    assert found is not None
    assert found.ok
    second.close()
    assert EdgeTpuBackend.known(works) is None


def test_a_plain_model_is_not_quietly_run_on_the_cpu(works: str) -> None:
    with pytest.raises(ModelError, match="not compiled"):
        EdgeTpuBackend(MODEL.flatbuffer, library=works)
    with pytest.raises(ModelError, match="not compiled") as caught:
        open_backend("edgetpu", MODEL.flatbuffer, library=works)
    assert "--target coral" in caught.value.remedy


def test_a_compiled_model_is_not_given_to_a_cpu(compiled: bytes) -> None:
    with pytest.raises(ModelError, match="plain file"):
        open_backend("litert", compiled)


def test_auto_takes_the_accelerator_and_the_cpu_behind_it(works: str, compiled: bytes) -> None:
    skipped: list[str] = []
    with_both = open_backend(
        "auto", MODEL.flatbuffer, compiled=compiled, library=works, on_skip=skipped.append
    )
    assert isinstance(with_both, FallbackBackend)
    assert with_both.name.startswith("edgetpu")
    assert with_both.run(face())[0].shape == (1, 8)
    assert skipped == []
    # The second model of a process: no other process can be asked while the first one runs.
    second = open_backend("edgetpu", MODEL.flatbuffer, compiled=compiled, library=works)
    assert second.name.startswith("edgetpu")
    second.close()
    with_both.close()


def test_a_compiled_model_alone_has_no_cpu_behind_it(works: str, compiled: bytes) -> None:
    alone = open_backend("auto", compiled, library=works)
    assert isinstance(alone, EdgeTpuBackend)
    alone.close()


@pytest.mark.parametrize("mode", ["null", "segfault"])
def test_asked_for_by_name_it_is_an_error(
    stub: str, compiled: bytes, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("STUB_DELEGATE", mode)
    for words in (
        {"name": "edgetpu", "flatbuffer": MODEL.flatbuffer, "compiled": compiled},
        {"name": "auto", "flatbuffer": compiled},
    ):
        with pytest.raises(DeviceError) as caught:
            open_backend(library=stub, **words)  # type: ignore[arg-type]
        assert caught.value.exit_code == 4
        assert caught.value.remedy


def test_auto_without_a_library_goes_on_with_the_cpu_and_says_why(compiled: bytes) -> None:
    skipped: list[str] = []
    backend = open_backend(
        "auto",
        MODEL.flatbuffer,
        compiled=compiled,
        library="libno-such-thing.so.1",
        on_skip=skipped.append,
    )
    assert backend.name.startswith("litert")
    assert len(skipped) == 1
    assert skipped[0].startswith("edgetpu: The library cannot be loaded")


def test_auto_does_not_take_one_that_answers_wrongly(
    works: str, compiled: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch()
    monkeypatch.setenv("STUB_DELEGATE_WRONG", str(wrong))
    said: list[str] = []
    words = {"flatbuffer": MODEL.flatbuffer, "compiled": compiled, "library": works}
    backend = open_backend("auto", on_skip=said.append, **words)  # type: ignore[arg-type]
    assert backend.name.startswith("litert")
    assert "answers wrongly" in said[0]
    assert "Beginning with litert" in said[0]
    backend.close()
    with pytest.raises(DeviceError, match="answers wrongly"):
        open_backend("edgetpu", **words)  # type: ignore[arg-type]
    assert EdgeTpuBackend.known(works) is None


def test_auto_begins_on_the_cpu_and_takes_a_coral_that_comes_later(
    works: str, compiled: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = tmp_path / "lost"
    lost.touch()
    monkeypatch.setenv("STUB_DELEGATE_LOST", str(lost))
    said: list[str] = []
    backend = open_backend(
        "auto", MODEL.flatbuffer, compiled=compiled, library=works, on_skip=said.append
    )
    assert isinstance(backend, FallbackBackend)
    assert backend.name.startswith("litert")
    assert "no Coral is plugged in" in backend.name
    assert backend.run(face())[0].shape == (1, 8)
    assert len(said) == 1
    backend.close()


def test_the_compiled_file_beside_the_plain_one(tmp_path: Path, compiled: bytes) -> None:
    plain = tmp_path / "mine.tflite"
    plain.write_bytes(MODEL.path.read_bytes())
    twin = tmp_path / "mine.edgetpu.tflite"
    said: list[str] = []
    assert compiled_beside(load(plain), said.append) is None
    assert said == []  # most models have none
    twin.write_bytes(embed(compiled, MODEL.contract))
    found = compiled_beside(load(plain), said.append)
    assert found is not None
    assert is_compiled(found)
    assert not is_compiled(MODEL.flatbuffer)
    assert compiled_beside(load(twin), said.append) is None
    assert said == []


def test_a_compiled_file_that_does_not_belong_is_not_used(tmp_path: Path, compiled: bytes) -> None:
    plain = tmp_path / "mine.tflite"
    plain.write_bytes(MODEL.path.read_bytes())
    twin = tmp_path / "mine.edgetpu.tflite"
    said: list[str] = []
    other = MODEL.contract.with_(labels=tuple(reversed(MODEL.contract.labels)))
    for data, why in (
        (embed(compiled, other), "another conversion"),
        (MODEL.path.read_bytes(), "not compiled"),
        (embed(compiled, MODEL.contract)[:-40], "cut off"),
    ):
        twin.write_bytes(data)
        assert compiled_beside(load(plain), said.append) is None
        assert why in said[-1]
    assert len(said) == 3
