"""Random numbers with random access: number ``i`` is a pure function of seed, stream and i.

The raw words of numpy's Philox (a counter turned into noise, Salmon et al., *Parallel random numbers: as easy as
1, 2, 3*, 2011) never change between numpy's versions; what numpy makes of them might, so we make it ourselves.
"""

import math

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WORDS_A_COUNT = 4  # one step of the counter yields four words


def uniforms(seed: int, stream: int, start: int, count: int) -> Floats:
    """Return the numbers ``start .. start + count - 1`` of a stream, above 0 and below 1."""
    skipped = start % _WORDS_A_COUNT
    noise = Philox(key=np.array([seed, stream], np.uint64), counter=start // _WORDS_A_COUNT)
    words = noise.random_raw(count + skipped)[skipped:]
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(seed: int, stream: int, start: int, count: int) -> Floats:
    """Return the standard normal numbers ``start .. start + count - 1`` of a stream (Box and Muller)."""
    skipped = start % 2
    whole_pairs = (count + skipped + 1) // 2  # two uniform numbers make two normal ones
    pairs = uniforms(seed, stream, start - skipped, 2 * whole_pairs).reshape(-1, 2)
    radius, angle = np.sqrt(-2.0 * np.log(pairs[:, 0])), 2.0 * math.pi * pairs[:, 1]
    pairs[:, 0], pairs[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
    return pairs.ravel()[skipped : skipped + count]


def smooth_normals(seed: int, stream: int, start: int, count: int, memory: float) -> Floats:
    """Return standard normal numbers that forget: the correlation falls by e every ``memory`` steps.

    It is an autoregression written as a finite sum of past shocks, so that it has no beginning: any stretch of
    it can be computed without what lies before.
    """
    weights = decay_weights(memory)
    weights /= math.sqrt(float(weights @ weights))
    shocks = normals(seed, stream, start - len(weights) + 1, count + len(weights) - 1)
    return np.convolve(shocks, weights, "valid")


def decay_weights(memory: float, span: float = 6.0) -> Floats:
    """Return ``exp(-k / memory)`` for k = 0, 1, ... up to ``span`` memories."""
    return np.asarray(np.exp(-np.arange(math.ceil(span * memory) + 1) / memory))


def between_nodes(nodes: Floats, steps: int) -> Floats:
    """Return straight lines between ``nodes`` (last axis), ``steps`` values from each node to before the next."""
    share = np.arange(steps) / steps
    lines = nodes[..., :-1, None] * (1.0 - share) + nodes[..., 1:, None] * share
    return np.asarray(lines.reshape(*nodes.shape[:-1], -1))
