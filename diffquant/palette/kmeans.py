"""Weighted k-means, and moving whole centres from where they save little to where they save much.

Distances come from one matrix product: |x - c|^2 = |x|^2 + (x, 1) . (-2 c, |c|^2), in float32 about the
weighted mean of the points, where they are small and therefore precise.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

BLOCK = 1 << 16  # distances in one block: they stay in the cache, and OpenBLAS does not wake its threads for so few

Labels = Int[np.ndarray, " n"]
Distances = Float32[np.ndarray, " n"]
Centers = Float64[np.ndarray, "k 3"]


class Cloud:
    """Weighted points, prepared once for many assignments to centres."""

    def __init__(self, points: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"]):
        self.weights = np.asarray(weights, np.float64)
        self.origin = np.einsum("i,ij->j", self.weights, points) / self.weights.sum()
        self.points = points - self.origin
        self.weighted = np.ascontiguousarray((self.weights[:, None] * self.points).T)
        self._extended = np.hstack([self.points, np.ones((len(points), 1))]).astype(np.float32)
        self._squares = (self.points**2).sum(axis=1).astype(np.float32)

    def nearest(self, centers: Centers) -> tuple[Labels, Distances]:
        """For each point the nearest centre and the squared distance to it. Centres are relative to `origin`."""
        labels, distance, _ = self._assign(centers, second=False)
        return labels, distance

    def two_nearest(self, centers: Centers) -> tuple[Labels, Distances, Distances]:
        """As `nearest`, and the squared distance to the second nearest centre: infinite if there is only one."""
        return self._assign(centers, second=True)

    def _assign(self, centers: Centers, *, second: bool) -> tuple[Labels, Distances, Distances]:
        matrix = np.vstack([-2 * centers.T, (centers**2).sum(axis=1)]).astype(np.float32)
        labels = np.empty(len(self.points), np.int64)
        distances = np.full((2, len(self.points)), np.inf, np.float32)
        block = max(BLOCK // len(centers), 1)
        for start in range(0, len(labels), block):
            here = slice(start, start + block)
            table = self._extended[here] @ matrix
            rows, best = np.arange(len(table)), table.argmin(axis=1)
            labels[here], distances[0, here] = best, table[rows, best]
            if second:
                table[rows, best] = np.inf
                distances[1, here] = table.min(axis=1)
        distances = np.maximum(distances + self._squares, 0)
        return labels, distances[0], distances[1]

    def total(self, labels: Labels, values: Float[np.ndarray, " n"], k: int) -> Float64[np.ndarray, " k"]:
        """Sum of the values of each centre's points."""
        return np.bincount(labels, values, k)

    def means(self, labels: Labels, centers: Centers) -> Centers:
        """Weighted mean of each centre's points; a centre without any stays."""
        k = len(centers)
        weight = self.total(labels, self.weights, k)[:, None]
        sums = np.stack([self.total(labels, plane, k) for plane in self.weighted], axis=1)
        return np.where(weight > 0, sums / np.where(weight > 0, weight, 1), centers)


def _feed_empty(cloud: Cloud, labels: Labels, distance: Distances, movable: np.ndarray) -> Labels:
    """Gives every movable centre without points the point of the largest weighted error that its owner can spare."""
    population = np.bincount(labels, minlength=len(movable))
    empty = np.flatnonzero(movable & (population == 0))
    if not len(empty):
        return labels
    error = np.where(population[labels] > 1, cloud.weights * distance, 0)
    far = (-error).argsort(kind="stable")[: len(empty)]
    far = far[error[far] > 0]
    labels = labels.copy()
    labels[far] = empty[: len(far)]
    return labels


def _lloyd(cloud: Cloud, centers: Centers, movable: np.ndarray, iterations: int, tolerance: float) -> Centers:
    previous = np.inf
    for _ in range(iterations):
        labels, distance = cloud.nearest(centers)
        error = float((cloud.weights * distance).sum())
        labels = _feed_empty(cloud, labels, distance, movable)
        centers = np.where(movable[:, None], cloud.means(labels, centers), centers)
        if previous - error <= tolerance * error:
            break
        previous = error
    return centers


def kmeans(
    points: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, " n"],
    centers: Centers,
    *,
    iterations: int = 20,
    fixed: Bool[np.ndarray, " k"] | None = None,
    tolerance: float = 1e-4,
) -> Centers:
    """Centres moved to the weighted means of the points nearest to them, again and again (Lloyd 1982).

    The weighted squared error never increases. `fixed` centres serve points and stay. A centre that serves none takes
    the point of the largest weighted error. Ends early when an iteration saves less than `tolerance` of the error.
    """
    cloud = Cloud(points, weights)
    movable = np.ones(len(centers), bool) if fixed is None else ~fixed
    moved = _lloyd(cloud, centers - cloud.origin, movable, iterations, tolerance) + cloud.origin
    return np.where(movable[:, None], moved, centers)


@dataclasses.dataclass(frozen=True)
class _Survey:
    """What each centre is worth: the error that its removal adds, and that a second centre beside it saves."""

    error: float
    cost: Float64[np.ndarray, " k"]
    gain: Float64[np.ndarray, " k"]
    offset: Float64[np.ndarray, "k 3"]  # of that second centre


def _survey(cloud: Cloud, centers: Centers, movable: np.ndarray) -> _Survey:
    k = len(centers)
    labels, first, second = cloud.two_nearest(centers)
    rest = (cloud.points - centers[labels]).T
    weight = np.maximum(cloud.total(labels, cloud.weights, k), 1e-300)
    moments = np.empty((k, 3, 3))
    for i in range(3):
        for j in range(i + 1):
            moments[:, i, j] = moments[:, j, i] = cloud.total(labels, cloud.weights * rest[i] * rest[j], k)
    spread, axes = np.linalg.eigh(moments)
    axis, spread = axes[:, :, -1], spread[:, -1]
    # Halving saves 2/pi = 0.64 of the variance of a normal distribution along the axis, 0.75 of a uniform one's, and
    # puts the halves 0.80 and 0.87 standard deviations from the middle.
    offset = 0.8 * np.sqrt(spread / weight)[:, None] * axis
    toward = ((cloud.means(labels, centers) - centers) * axis).sum(axis=1)
    offset = np.where(toward[:, None] < 0, -offset, offset)  # a fixed centre may lie outside of its points
    cost = cloud.total(labels, cloud.weights * (second - first), k)
    return _Survey(float((cloud.weights * first).sum()), np.where(movable, cost, np.inf), 0.7 * spread, offset)


def _pairs(survey: _Survey, moves: int, tried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Donors and receivers: at most `moves` pairs that promise to pay, or else the best pair that is untried."""
    receivers = (-survey.gain).argsort(kind="stable")[:moves]
    cost = survey.cost.copy()
    cost[receivers] = np.inf
    donors = cost.argsort(kind="stable")[: len(receivers)]
    pays = survey.gain[receivers] > cost[donors]
    if moves > 1 and pays.any():
        return donors[pays], receivers[pays]
    net = np.where(tried, -np.inf, survey.gain - survey.cost[:, None])
    donor, receiver = np.divmod([net.argmax()], len(net))
    possible = net[donor, receiver] > -np.inf
    return donor[possible], receiver[possible]


def relocate(
    points: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, " n"],
    centers: Centers,
    *,
    trials: int,
    iterations: int = 3,
    fixed: Bool[np.ndarray, " k"] | None = None,
) -> Centers:
    """k-means that leaves local optima: centres worth least are set beside those with the widest clusters.

    Each trial moves several centres at once, runs some `iterations` of k-means, and stands only if the weighted error
    has fallen; after a failure the next trial moves half as many, and at the end one at a time.
    In the spirit of the LBG-U method (Fritzke 1997), with the gain estimated from the covariance of each cluster.
    """
    cloud = Cloud(points, weights)
    movable = np.ones(len(centers), bool) if fixed is None else ~fixed
    start, centers = centers, _lloyd(cloud, centers - cloud.origin, movable, 20, 1e-4)
    survey = _survey(cloud, centers, movable)
    tried = np.eye(len(centers), dtype=bool)  # [donor receiver]
    moves = max(len(centers) // 8, 1)
    for _ in range(trials):
        donors, receivers = _pairs(survey, moves, tried)
        if not len(donors):
            break
        trial = centers.copy()
        trial[donors] = centers[receivers] + survey.offset[receivers]
        trial[receivers] -= np.where(movable[receivers, None], survey.offset[receivers], 0)
        trial = _lloyd(cloud, trial, movable, iterations, 0.0)
        outcome = _survey(cloud, trial, movable)
        if outcome.error < survey.error:
            centers, survey = trial, outcome
            tried = np.eye(len(centers), dtype=bool)
        else:
            tried[donors, receivers] = True
            moves = max(moves // 2, 1)
    return np.where(movable[:, None], centers + cloud.origin, start)
