"""The models that can be pulled: where each lies, what it must be, and what it does not say itself.

One entry is one pinned file. The BlazeFace files are Google's own, which carry no contract: how
their input is made and their heads are read is stated here, from Bazarevsky et al., "BlazeFace:
Sub-millisecond Neural Face Detection on Mobile GPUs" (arXiv:1907.05047) and the graphs published
with them. YuNet runs in OpenCV, which knows how to read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from edge_fer.contract import (
    DetectionSpec,
    InputSpec,
    Licence,
    ModelContract,
    OutputSpec,
    Quantisation,
    SquareRule,
)

__all__ = ["CATALOGUE", "Entry", "contract_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file that ``edge-fer models pull`` knows.

    Attributes:
        name: what it is called on the command line.
        url: its official address.
        sha256: of the file, in hexadecimal.
        size: of the file, in bytes.
        release: its name with the release in it, as a mirror that keeps several may call it.
        licence: SPDX identifier of the file's licence.
        description: one line.
        caveat: what the licence does not say and a user should know, or an empty string.
        contract: what the file does not say itself; None for a file that edge-fer hands to a
            library which knows it.
        task: what it is for, in a contract's words.
    """

    name: str
    url: str
    sha256: str
    size: int
    release: str
    licence: str
    description: str
    caveat: str = ""
    contract: ModelContract | None = None
    task: str = "face-detection"

    @property
    def official_name(self) -> str:
        """The last part of the official address."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def file_name(self) -> str:
        """What it is called in the folder of pulled models: ``NAME.tflite`` or ``NAME.onnx``."""
        return self.name + PurePosixPath(self.official_name).suffix

    @property
    def mirror_names(self) -> tuple[str, ...]:
        """What a mirror may call it, in the order in which they are tried."""
        return (self.file_name, self.official_name, self.release)


def _blazeface(
    *,
    size: int,
    strides: tuple[int, ...],
    anchors: tuple[int, ...],
    min_score: float,
    square: SquareRule,
    source: str,
) -> ModelContract:
    return ModelContract(
        task="face-detection",
        labels=("face",),
        label_scheme="custom",
        input=InputSpec(
            height=size,
            width=size,
            channels=3,
            colour="rgb",
            scale=(1 / 127.5,) * 3,
            offset=(-1.0,) * 3,
        ),
        output=OutputSpec(kind="logits"),
        detection=DetectionSpec(
            decoder="anchors",
            strides=strides,
            anchors=anchors,
            # The person's right is the left of the picture.
            keypoints=("right_eye", "left_eye", "nose_tip", "mouth", "right_ear", "left_ear"),
            min_score=min_score,
            square=square,
        ),
        quantisation=Quantisation(scheme="float32"),
        licence=Licence(code="Apache-2.0", weights="Apache-2.0"),
        provenance={"made_by": "Google, MediaPipe", "source": source},
    )


_ASSETS = "https://storage.googleapis.com/mediapipe-assets/modules/face_detection"
# The file of June 2019 to May 2020: true float32. Later ones of this name hold float16 weights, and
# today's tree has none, so the address names the commit.
_COMMIT_2020 = (
    "https://raw.githubusercontent.com/google-ai-edge/mediapipe/"
    "16e5d7242d05aedce4b106f4bf69f8d1e4f3c6ef/mediapipe/modules/face_detection"
)
# Kept in Git LFS: the raw address would give a pointer of three lines.
_ZOO = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "f12e12798e8314f7c074a6656816c048dcc95b7a/models/face_detection_yunet"
)

_ENTRIES = (
    Entry(
        name="blazeface-full",
        url=f"{_ASSETS}/face_detection_full_range.tflite",
        sha256="99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
        size=1_083_984,
        release="blazeface_full_range.tflite",
        licence="Apache-2.0",
        description="BlazeFace full range, 192x192: faces up to 5 m away; float16 weights",
        contract=_blazeface(
            size=192,
            strides=(4,),
            anchors=(1,),
            min_score=0.5,
            square=SquareRule(unit="width", side=1.20, centre_y=0.46),
            source=f"{_ASSETS}/face_detection_full_range.tflite",
        ),
    ),
    Entry(
        name="blazeface-front",
        url=f"{_COMMIT_2020}/face_detection_front.tflite",
        sha256="a31cce739e9f5b9b08a15ef5ff90c500a46e96bd2c87f329d58a008dfd6c42ff",
        size=423_256,
        release="blazeface_front_2019.tflite",
        licence="Apache-2.0",
        description="BlazeFace front camera of 2019, 128x128: faces up to 2 m away; float32",
        contract=_blazeface(
            size=128,
            strides=(8, 16),
            anchors=(2, 6),
            min_score=0.75,
            square=SquareRule(unit="width", side=1.18, centre_y=0.40),
            source=f"{_COMMIT_2020}/face_detection_front.tflite",
        ),
    ),
    Entry(
        name="yunet",
        url=f"{_ZOO}/face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size=232_589,
        release="yunet_2023mar.onnx",
        licence="MIT",
        description="YuNet of March 2023 for OpenCV's FaceDetectorYN; float32 ONNX",
        caveat=(
            "Its weights were trained on WIDER FACE, whose terms are for research only; its "
            "authors say that this may be a licence problem (ShiqiYu/libfacedetection.train#14)."
        ),
    ),
)

CATALOGUE: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
_CONTRACTS = {entry.sha256: entry.contract for entry in _ENTRIES}


def contract_of(sha256: str) -> ModelContract | None:
    """The contract of a known file that carries none; None for any other file."""
    return _CONTRACTS.get(sha256)
