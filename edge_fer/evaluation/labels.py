"""Label schemes of the field, the synonyms that folders use, and FER+'s majority rule."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ConfigError

__all__ = [
    "FER2013_7",
    "FERPLUS8",
    "SCHEMES",
    "Scheme",
    "canonical",
    "majority",
    "plurality",
    "read_labels",
    "vote_distribution",
]

FERPLUS8 = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
FER2013_7 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
Scheme = Literal["ferplus8", "fer2013-7", "custom"]
SCHEMES: dict[str, tuple[str, ...]] = {"ferplus8": FERPLUS8, "fer2013-7": FER2013_7}

_SYNONYMS = {
    "angry": "anger",
    "mad": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "scared": "fear",
    "afraid": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "contemptuous": "contempt",
    "neutrality": "neutral",
    "calm": "neutral",
}


def canonical(name: str) -> str:
    """FER+'s name of a class: ``happy`` to ``happiness``; other names come back in lower case."""
    name = name.strip().lower()
    return _SYNONYMS.get(name, name)


def read_labels(text: str) -> tuple[tuple[str, ...], Scheme]:
    """Names and scheme of what a user wrote: a scheme's name, or names in the model's order.

    Raises:
        ConfigError: neither, or a name is missing, twice, or ``unknown``.
    """
    names = SCHEMES.get(text) or tuple(canonical(name) for name in text.split(","))
    if len(names) < 2:
        raise ConfigError(
            f"There is no label scheme {text!r}.",
            f"Known: {', '.join(SCHEMES)}, or the names in the model's order, with commas.",
        )
    if "" in names or "unknown" in names or len(set(names)) != len(names):
        raise ConfigError(
            f"--labels {text}: every class needs a name of its own, and none may be 'unknown'.",
            "Give one name per output of the model, with commas between.",
        )
    if names == FERPLUS8:
        return names, "ferplus8"
    return names, "fer2013-7" if names == FER2013_7 else "custom"


def majority(votes: NDArray[np.integer]) -> NDArray[np.int64]:
    """The "majority" label of FER+ (Barsoum et al., arXiv:1608.01041, section 3).

    Votes of 1 are dropped; the winner must hold more than half of what is left; rows that say
    unknown or not-a-face are out.

    Args:
        votes: ``int[N, 10]``: the eight emotions in FER+ order, unknown, NF.

    Returns:
        ``int64[N]``, an index into :data:`FERPLUS8`, or -1 where the row is left out.
    """
    kept = np.where(votes <= 1, 0, votes).astype(np.int64)
    winner = kept.argmax(axis=1)
    clear = kept.max(axis=1) * 2 > kept.sum(axis=1)
    return np.where(clear & (winner < len(FERPLUS8)), winner, -1)


def plurality(votes: NDArray[np.integer]) -> NDArray[np.int64]:
    """The emotion with the most votes, majority or not: rows to learn from, not to be scored on.

    Votes of 1 are dropped; the eight emotions together must hold more than half of what is left.

    Args:
        votes: ``int[N, 10]`` as for :func:`majority`.

    Returns:
        ``int64[N]``, an index into :data:`FERPLUS8`, or -1 where the row is left out.
    """
    kept = np.where(votes <= 1, 0, votes).astype(np.int64)
    emotions = kept[:, : len(FERPLUS8)]
    clear = emotions.sum(axis=1) * 2 > kept.sum(axis=1)
    return np.where(clear, emotions.argmax(axis=1), -1)


def vote_distribution(votes: NDArray[np.integer]) -> NDArray[np.float32]:
    """The crowd's distribution over the eight emotions, votes of 1 dropped.

    Args:
        votes: ``int[N, 10]`` as for :func:`majority`.

    Returns:
        ``float32[N, 8]``, each row summing to 1, or all 0 where no vote is left.
    """
    kept = np.where(votes <= 1, 0, votes)[:, : len(FERPLUS8)].astype(np.float32)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept / np.maximum(total, 1))
