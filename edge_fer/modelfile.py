"""A ``.tflite`` file with its contract: read, check, write.

The contract stands twice-protected in the file: as a named metadata buffer inside the flatbuffer
(so that every tool carries it along), and behind the flatbuffer a zip with ``labels.txt`` (for
``unzip`` and Netron) and ``flatbuffer.sha256``, the hash of everything before the zip. A file
that was cut off or edited is noticed before an interpreter sees it.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from edge_fer.contract import ModelContract
from edge_fer.errors import MissingExtra, ModelError

__all__ = ["METADATA_NAME", "ModelFile", "embed", "read_model"]

METADATA_NAME = "edge_fer.contract"
_HASH_MEMBER = "flatbuffer.sha256"
_LABELS_MEMBER = "labels.txt"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first date: a clock in the file would change its bytes
_IDENTIFIER = b"TFL3"
_END_OF_ZIP, _END_OF_ZIP_BYTES = b"PK\5\6", 22  # without a comment, which we never write
_FRESH = "Get a fresh copy of the file, or convert the model again: edge-fer convert --help"


@dataclass(frozen=True)
class ModelFile:
    """A model that was read and whose hash and contract are right.

    Attributes:
        path: where it was read from.
        flatbuffer: the graph and weights, without the zip: what an interpreter loads.
        contract: what the file says of itself.
        sha256: of the whole file.
    """

    path: Path
    flatbuffer: bytes
    contract: ModelContract
    sha256: str

    @cached_property
    def flatbuffer_sha256(self) -> str:
        """Hash of the flatbuffer part, as a child's ``parent_sha256`` names it."""
        return hashlib.sha256(self.flatbuffer).hexdigest()

    @property
    def name(self) -> str:
        """What to call the model when talking to people: its file name without ``.tflite``."""
        return self.path.name.removesuffix(".tflite")


def read_model(path: Path) -> ModelFile:
    """Read a model file and its contract.

    Raises:
        ModelError: missing, no ``.tflite``, truncated, changed, or without a valid contract.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ModelError(
            f"There is no model at {path} ({err.strerror}).", "See: edge-fer models list"
        ) from err
    if data[4:8] != _IDENTIFIER:
        raise ModelError(
            f"{path} is not a .tflite file.", "Convert a Keras model: edge-fer convert --help"
        )
    flatbuffer, members = _split(data, path)
    text = _metadata(flatbuffer, path)
    if text is None:
        raise ModelError(
            f"{path} carries no contract, so its labels and preprocessing are unknown.",
            f"Write one with: edge-fer models adopt {path} --help",
        )
    if _HASH_MEMBER not in members:
        raise ModelError(f"{path} is cut off: the end of the file is missing.", _FRESH)
    if (
        members[_HASH_MEMBER].decode(errors="replace").strip()
        != hashlib.sha256(flatbuffer).hexdigest()
    ):
        raise ModelError(f"{path} was changed or damaged: its hash is wrong.", _FRESH)
    return ModelFile(
        path=path,
        flatbuffer=flatbuffer,
        contract=ModelContract.parse(text, str(path)),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def embed(flatbuffer: bytes, contract: ModelContract) -> bytes:
    """The bytes of a model file: a bare flatbuffer with the contract put in and the zip behind.

    The same flatbuffer and contract always give the same bytes. A contract that is there already
    is replaced; other metadata stays.

    Raises:
        MissingExtra: ai-edge-litert, which can write the format, is not installed.
        ModelError: not a flatbuffer that can be read.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.tools import flatbuffer_utils
    except ImportError as err:
        raise MissingExtra(
            "Writing a contract needs ai-edge-litert.",
            "Install it with: pip install ai-edge-litert",
        ) from err
    bare, _ = _split(flatbuffer, Path("the model"))
    try:
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(bare))
    except (struct.error, IndexError, ValueError, TypeError) as err:
        raise ModelError(f"The model is not a readable .tflite ({err}).", _FRESH) from err
    existing = [m for m in model.metadata or () if m.name == METADATA_NAME.encode()]
    if existing:
        buffer = model.buffers[existing[0].buffer]
    else:
        buffer = schema.BufferT()
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
        model.metadata = [*(model.metadata or ()), entry]
    buffer.data = list(contract.to_json())
    written = bytes(flatbuffer_utils.convert_object_to_bytearray(model))

    out = BytesIO(written)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(zipfile.ZipInfo(_LABELS_MEMBER, _EPOCH), "\n".join(contract.labels) + "\n")
        digest = hashlib.sha256(written).hexdigest()
        archive.writestr(zipfile.ZipInfo(_HASH_MEMBER, _EPOCH), digest + "\n")
    return out.getvalue()


def _split(data: bytes, path: Path) -> tuple[bytes, dict[str, bytes]]:
    """The flatbuffer, and the members of the zip behind it (none where there is no whole zip)."""
    if not zipfile.is_zipfile(BytesIO(data)):
        return data, {}
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = archive.infolist()
            members = {i.filename: archive.read(i) for i in infos}
    except (zipfile.BadZipFile, OSError, NotImplementedError) as err:
        raise ModelError(f"{path} is damaged: {err}.", _FRESH) from err
    if not infos:
        return data, {}
    if data.rfind(_END_OF_ZIP) + _END_OF_ZIP_BYTES != len(data):
        raise ModelError(f"{path} was changed: something follows its end.", _FRESH)
    return data[: min(i.header_offset for i in infos)], members


def _metadata(flatbuffer: bytes, path: Path) -> bytes | None:
    """The bytes of our metadata buffer, read with the plain flatbuffers package.

    Field numbers are those of TFLite's schema.fbs: Model.buffers 4, Model.metadata 6,
    Metadata.name 0, Metadata.buffer 1, Buffer.data 0; a field's slot is 4 + 2 * its number.
    """
    from flatbuffers import encode, number_types, packer, table

    def child(parent: Any, slot: int, index: int) -> Any:
        at = parent.Indirect(parent.Vector(parent.Offset(slot)) + 4 * index)
        return table.Table(parent.Bytes, at)

    def count(parent: Any, slot: int) -> int:
        offset = parent.Offset(slot)
        return int(parent.VectorLen(offset)) if offset else 0

    try:
        model = table.Table(flatbuffer, encode.Get(packer.uoffset, flatbuffer, 0))
        for i in range(count(model, 16)):
            entry = child(model, 16, i)
            if entry.String(entry.Offset(4) + entry.Pos) != METADATA_NAME.encode():
                continue
            offset = entry.Offset(6)
            number = entry.Get(number_types.Uint32Flags, offset + entry.Pos) if offset else 0
            buffer = child(model, 12, number)
            begin, length = buffer.Vector(buffer.Offset(4)), count(buffer, 4)
            return flatbuffer[begin : begin + length]
    except (struct.error, IndexError, ValueError, TypeError) as err:
        raise ModelError(f"{path} is cut off or damaged ({err}).", _FRESH) from err
    return None
