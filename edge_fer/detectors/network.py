"""A detector that is a neural network: a model file whose contract is honoured to the letter."""

from __future__ import annotations

from edge_fer.backends.base import Backend
from edge_fer.detectors.base import checked, faces_of, require_fraction, square_of
from edge_fer.detectors.decode import Decoder
from edge_fer.detectors.letterbox import letterbox
from edge_fer.detectors.nms import merged
from edge_fer.errors import ModelError
from edge_fer.loaded import LoadedModel
from edge_fer.modelfile import ModelFile
from edge_fer.types import Box, Face, Frame, Square

__all__ = ["NetworkDetector"]


class NetworkDetector(LoadedModel):
    """Frames to faces, by a network of any contract for face detection.

    Args:
        model: read with :func:`edge_fer.modelfile.read_model`.
        backend: the same model, loaded.
        min_score: what a face must score; default: the contract's.
        max_overlap: intersection over union above which two boxes are one face; default: the
            contract's.

    Raises:
        ModelError: the model is for another task, or the graph does not match the contract.
        ConfigError: a threshold is not between 0 and 1.
    """

    def __init__(
        self,
        model: ModelFile,
        backend: Backend,
        *,
        min_score: float | None = None,
        max_overlap: float | None = None,
    ) -> None:
        if model.contract.detection is None:
            raise ModelError(
                f"{model.path} is a classifier, not a detector: it names expressions and finds "
                "no faces.",
                "Give it as --model, and as --detector: face, haar, yunet or a detector's file.",
            )
        self.detection = model.contract.detection
        require_fraction(min_score=min_score, max_overlap=max_overlap)
        super().__init__(model, backend)
        self._max_overlap = self.detection.max_overlap if max_overlap is None else max_overlap
        names = self.detection.keypoints
        eyes = {*names[:2]} == {"right_eye", "left_eye"}
        self._mouth = (names.index("mouth"),) if eyes and "mouth" in names else ()
        self._decoder = Decoder(
            self.contract, backend.outputs, min_score=min_score, name=str(model.path)
        )

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces in the whole frame, best score first.

        Boxes are clipped to the frame; keypoints may lie outside.

        Raises:
            DataError: the frame is empty, or not 8 bits deep.
            DeviceError: the processor failed.
        """
        return self._look(frame, None)

    def detect_in(self, frame: Frame, region: Box) -> tuple[Face, ...]:
        """The faces in a region that fills the model's input: finer than the whole frame.

        Args:
            frame: the picture.
            region: in pixels of the frame; it may stick out.

        Raises:
            DataError: as :meth:`detect`, or the region has no area.
            DeviceError: the processor failed.
        """
        return self._look(frame, region)

    def face_square(self, face: Face) -> Square:
        """By the contract's rule, rolled as the eyes are where the model knows them.

        A face that the frame's edge cuts gets the square of its eyes and mouth, where they are
        known.
        """
        return square_of(face, self.detection.square, self._mouth)

    def _look(self, frame: Frame, region: Box | None) -> tuple[Face, ...]:
        spec = self.contract.input
        pixels, placement = letterbox(checked(frame, colour=spec.colour == "rgb"), spec, region)
        if 0 in placement.source[2:]:
            return ()  # the region lies outside the frame
        found = merged(self._decoder.candidates(self.run(pixels)), self._max_overlap)
        corners = placement.to_frame(found.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        return faces_of(frame, corners, found.scores, placement.to_frame(found.keypoints))
