"""Which of many pictures to take: even in class and brightness, far apart in a feature space."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.preprocess import fit
from edge_fer.types import Image
from edge_fer_convert.calibration.features import Features, far_apart
from edge_fer_convert.calibration.near_copies import NearCopies, luma, perceptual_hashes

__all__ = [
    "BRIGHTNESS",
    "Seen",
    "Stratum",
    "chosen",
    "digest",
    "even",
    "look",
    "pool_factor",
    "sorted_out",
]

BRIGHTNESS = ("dark", "medium", "bright")
Stratum = tuple[str, str]  # class and brightness

_POOL = 4.0  # candidates in feature space, for each picture that is wanted
_LEAST_POOL = 1.5  # with fewer there is nothing to choose from
_MOST_MACS = 100e9  # of all candidates together: seconds on two cores
_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is kept of a candidate.

    Attributes:
        place: in the list of pictures.
        digest: sha256 of its pixels as the model sees them.
        hash: the perceptual one.
        brightness: mean luma, 0 to 255.
    """

    place: int
    digest: bytes
    hash: int
    brightness: float


def look(images: Sequence[Image], spec: InputSpec) -> Iterator[Seen]:
    """Every picture once, ``uint8[H, W]`` luma or ``uint8[H, W, 3]`` RGB, of any size."""
    for start in range(0, len(images), _CHUNK):
        pixels = [fit(image, spec) for image in images[start : start + _CHUNK]]
        gray = [luma(p) for p in pixels]
        for place, (p, g, value) in enumerate(
            zip(pixels, gray, perceptual_hashes(gray), strict=True), start
        ):
            brightness = int(g.sum(dtype=np.int64)) / g.size
            yield Seen(place=place, digest=digest(p), hash=value, brightness=brightness)


def sorted_out(
    images: Sequence[Image],
    classes: Sequence[int],
    spec: InputSpec,
    *,
    without: frozenset[bytes],
    apart_from: NearCopies | None,
) -> tuple[dict[int, list[Seen]], int, int]:
    """Candidates by class, each picture once: under its first class, whatever the file's order.

    Near copies are dropped, unless they are more than the others: then the hash cannot tell
    such pictures apart.

    Args:
        images: as :func:`look` takes them.
        classes: of each.
        spec: the model's input.
        without: digests of pictures that are no candidates.
        apart_from: pictures whose near copies are none either.

    Returns:
        The candidates, how many different near copies were dropped, and how many kept.
    """
    owner: dict[bytes, tuple[int, Seen]] = {}
    near: set[bytes] = set()
    for number, seen in zip(classes, look(images, spec), strict=True):
        if seen.digest in without:
            continue
        if apart_from is not None and seen.hash in apart_from:
            near.add(seen.digest)
        if seen.digest not in owner or number < owner[seen.digest][0]:
            owner[seen.digest] = number, seen
    dropped = near if 2 * len(near) <= len(owner) else set()
    pools: dict[int, list[Seen]] = {}
    for number, seen in owner.values():
        if seen.digest not in dropped:
            pools.setdefault(number, []).append(seen)
    return pools, len(dropped), len(near) - len(dropped)


def digest(pixels: Image) -> bytes:
    """sha256 of a picture's shape and pixels."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def pool_factor(features: Features | None, count: int) -> float:
    """How many candidates to look at in feature space for each of ``count`` pictures.

    Four, or as many as the size of the model allows; 0 where that leaves nothing to choose from.
    """
    if features is None:
        return 0.0
    allowed = min(_POOL, _MOST_MACS / max(count * features.macs, 1))
    return allowed if allowed >= _LEAST_POOL else 0.0


def chosen(
    pools: Mapping[str, Sequence[Seen]],
    count: int,
    pixels_of: Callable[[Seen], Image],
    features: Features | None,
    *,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[Stratum, Seen]]:
    """Take from every class in turn, in a class from its brightness thirds in turn.

    The thirds are cut at the terciles of the class's candidates. Inside a stratum the order is
    that of :func:`far_apart` among the first few by sha256, or by sha256 alone.

    Args:
        pools: the candidates of each class, each once, in any order.
        count: how many to take.
        pixels_of: ``uint8[height, width, channels]`` of a candidate.
        features: where pictures lie; left alone where :func:`pool_factor` is 0.
        on_done: told how many candidates have been placed, and of how many.

    Returns:
        At most ``count``, in the order taken: the first n are as even as all are.
    """
    factor = pool_factor(features, count)
    shares = even([len(pool) for pool in pools.values()], count)
    queues: list[tuple[Stratum, list[Seen], int]] = []
    for (label, pool), share in zip(pools.items(), shares, strict=True):
        thirds = _thirds(pool)
        quotas = even([len(third) for third in thirds], share)
        for name, third, quota in zip(BRIGHTNESS, thirds, quotas, strict=True):
            first = sorted(third, key=lambda seen: seen.digest)
            size = math.ceil(factor * quota) if factor else quota
            queues.append(((label, name), first[:size], quota))
    total = sum(len(queue) for _, queue, _ in queues) if factor else 0
    done = 0
    ranked: dict[str, list[tuple[int, int, Stratum, Seen]]] = {label: [] for label in pools}
    for stratum, queue, quota in queues:
        order = list(range(quota))
        if factor and features is not None and queue:
            order = far_apart(features(np.stack([pixels_of(seen) for seen in queue])), quota)
            done += len(queue)
            on_done(done, total)
        band = BRIGHTNESS.index(stratum[1])
        ranked[stratum[0]] += [(n, band, stratum, queue[i]) for n, i in enumerate(order)]
    turns = [
        (turn, label, stratum, seen)
        for label, entries in enumerate(ranked.values())
        for turn, (_, _, stratum, seen) in enumerate(sorted(entries, key=lambda e: e[:2]))
    ]
    return [(stratum, seen) for _, _, stratum, seen in sorted(turns, key=lambda t: t[:2])]


def even(available: Sequence[int], count: int) -> list[int]:
    """Shares of ``count``, as equal as the supplies allow; earlier ones get the odd ones."""
    shares = [0] * len(available)
    while (left := min(count, sum(available)) - sum(shares)) > 0:
        open_ = [i for i, supply in enumerate(available) if shares[i] < supply]
        each, odd = divmod(left, len(open_))
        for place, i in enumerate(open_):
            shares[i] += min(available[i] - shares[i], each + (place < odd))
    return shares


def _thirds(pool: Sequence[Seen]) -> tuple[list[Seen], list[Seen], list[Seen]]:
    """Dark, medium, bright; pictures of one brightness stay together."""
    values = sorted(seen.brightness for seen in pool)
    first, second = (values[n * len(values) // 3] if values else 0.0 for n in (1, 2))
    dark: list[Seen] = [s for s in pool if s.brightness < first]
    medium = [s for s in pool if first <= s.brightness < second]
    return dark, medium, [s for s in pool if s.brightness >= max(first, second)]
