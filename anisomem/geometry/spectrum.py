r"""The Hessian of the log-probability of a model: the Jacobian of its score.

A network's score need not be a gradient, so its Jacobian :math:`J = S + A` has an antisymmetric
part. Eigenvalues are those of :math:`S = (J + J^\top) / 2`; the size of A is reported beside them.

With eigenvalues :math:`\lambda_i` of S in d dimensions,

.. math:: \text{participation ratio} = \frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2}, \qquad
    \text{anisotropy index} = 1 - \frac{\text{participation ratio}}{d}
    = \frac{\operatorname{Var} \lambda}{\operatorname{E} \lambda^2},

which is 0 if and only if S is a multiple of the identity, and at most 1.

For small latents the Jacobian is computed whole, by one forward-mode derivative per dimension.
For large ones Hutchinson's estimator gives trace and squares, and Lanczos the ends:
:math:`\operatorname{E} v^\top J v = \operatorname{tr} S`, and from the same two derivatives
:math:`\|Jv\|^2 \to \|S\|_F^2 + \|A\|_F^2`, :math:`v^\top J J v \to \|S\|_F^2 - \|A\|_F^2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.stats import t as student
from torch import Tensor

from anisomem.models.base import DiffusionModel
from anisomem.models.conditioning import Conditioning

Array = npt.NDArray[np.float64]


class Operator(Protocol):
    """A square matrix that is known by what it does."""

    size: int

    def apply(self, vectors: Array) -> Array:
        """J v for every row v, ``[n, d]``."""
        ...

    def transposed(self, vectors: Array) -> Array:
        """The same with the transpose."""
        ...


class ScoreJacobian:
    r"""The Jacobian of a model's score at one point, :math:`\partial s / \partial x`.

    Arguments:
        model: The model whose score is differentiated.
        x: The point, ``[1, C, H, W]``.
        t: The timestep of the latents.
        conditioning: One encoded prompt.
        batch: Directions in a pass.
    """

    def __init__(
        self,
        model: DiffusionModel,
        x: Tensor,
        t: float,
        conditioning: Conditioning,
        batch: int = 64,
    ) -> None:
        self.model, self.x, self.t, self.batch = model, x, t, batch
        self.conditioning = conditioning
        self.size = x.numel()
        prediction = model.predict(x, t, conditioning)
        self.per_output = float(prediction.score_per_output[0])
        self.per_latent = float(prediction.score_per_latent[0])

    def apply(self, vectors: Array) -> Array:
        return self._in_batches(vectors, lambda *given: self.model.jvp(*given)[1])

    def transposed(self, vectors: Array) -> Array:
        return self._in_batches(vectors, self.model.vjp)

    def _in_batches(self, vectors: Array, derivative: Callable[..., Tensor]) -> Array:
        parts = []
        for begin in range(0, len(vectors), self.batch):
            rows = torch.from_numpy(vectors[begin : begin + self.batch])
            v = rows.reshape(-1, *self.x.shape[1:]).to(self.x)
            same = self.conditioning[[0] * len(v)]
            products = derivative(self.x.expand_as(v).contiguous(), self.t, same, v)
            parts.append(products.flatten(1).double().cpu().numpy())
        return self.per_output * np.concatenate(parts) + self.per_latent * vectors

    def dense(self) -> Array:
        """The matrix itself, ``[d, d]``, from d directional derivatives."""
        return self.apply(np.eye(self.size)).T


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a matrix's symmetric part, with the sizes of both parts.

    Attributes:
        eigenvalues: Ascending, ``[d]``.
        antisymmetric: Frobenius norm of A.
    """

    eigenvalues: Array
    antisymmetric: float

    @classmethod
    def of_matrix(cls, jacobian: Array) -> Spectrum:
        """The spectrum of a matrix ``[d, d]``."""
        values = np.linalg.eigvalsh((jacobian + jacobian.T) / 2).astype(np.float64)
        return cls(values, float(np.linalg.norm(jacobian - jacobian.T)) / 2)

    @property
    def variance(self) -> float:
        """The variance of the eigenvalues."""
        return float(self.eigenvalues.var())

    @property
    def participation_ratio(self) -> float:
        """How many directions share the trace, from 0 to d."""
        return float(self.eigenvalues.sum() ** 2 / (self.eigenvalues**2).sum())

    @property
    def anisotropy_index(self) -> float:
        """The share of directions that hold none of it, from 0 to 1, see the module."""
        return 1 - self.participation_ratio / len(self.eigenvalues)

    @property
    def condition_number(self) -> float:
        """Largest over smallest absolute eigenvalue."""
        sizes = np.abs(self.eigenvalues)
        return float(sizes.max() / sizes.min())

    @property
    def asymmetry(self) -> float:
        r"""Share of the antisymmetric part, :math:`\|A\|_F / \|J\|_F`."""
        whole = np.hypot(self.antisymmetric, np.linalg.norm(self.eigenvalues))
        return float(self.antisymmetric / whole)


@dataclass(frozen=True)
class Estimated:
    """A number with the half width of its 95% interval."""

    value: float
    error: float


@dataclass(frozen=True)
class Moments:
    """What Hutchinson's probes say of a Jacobian."""

    trace: Estimated
    symmetric: Estimated  # squared Frobenius norm of S
    antisymmetric: Estimated  # of A
    anisotropy_index: Estimated


def hutchinson(operator: Operator, probes: int, rng: np.random.Generator) -> Moments:
    """Trace, squared norms and anisotropy index from random signs; two derivatives a probe.

    Intervals are Student's over the probes; the index, a ratio, is jackknifed.

    Arguments:
        operator: The Jacobian as an operator.
        probes: How many probes there are, at least 2.
        rng: The generator of the signs.

    Source: Hutchinson, Communications in Statistics 19 (1990).
    """
    v = rng.choice([-1.0, 1.0], (probes, operator.size))
    once = operator.apply(v)
    twice = operator.apply(once)
    trace, all_squares, difference = ((v * once).sum(1), (once**2).sum(1), (v * twice).sum(1))
    symmetric = (all_squares + difference) / 2
    return Moments(
        _mean(trace),
        _mean(symmetric),
        _mean((all_squares - difference) / 2),
        _jackknife(np.stack([trace, symmetric]), operator.size),
    )


def _mean(values: Array) -> Estimated:
    n = len(values)
    return Estimated(float(values.mean()), float(_width(n) * values.std(ddof=1) / np.sqrt(n)))


def _jackknife(columns: Array, d: int) -> Estimated:
    """Estimates 1 - trace^2 / (d * squares) with its standard error."""
    n = columns.shape[1]

    def index(trace: Array, squares: Array) -> Array:
        return 1 - trace**2 / (d * squares)

    total = columns.sum(axis=1, keepdims=True)
    left_out = index(*((total - columns) / (n - 1)))
    whole = index(*(total / n))[0]
    value = n * whole - (n - 1) * left_out.mean()
    error = np.sqrt((n - 1) * left_out.var())
    return Estimated(float(value), float(_width(n) * error))


def _width(n: int) -> float:
    return float(student.ppf(0.975, n - 1))


def ends(operator: Operator, k: int, tolerance: float = 1e-6, seed: int = 0) -> Array:
    """The k least and k greatest eigenvalues of the symmetric part, ascending, by Lanczos.

    ARPACK's implicitly restarted Lanczos (Lehoucq, Sorensen & Yang, 1998), which is correct to
    the tolerance for a symmetric matrix; needs the transpose, a reverse-mode derivative a step.

    Arguments:
        operator: The Jacobian as an operator.
        k: How many eigenvalues, at most a quarter of its size.
        tolerance: The relative tolerance.
        seed: The seed of the vector it starts with.
    """

    def half(v: Array) -> Array:
        row = np.asarray(v, np.float64).reshape(1, -1)
        return (operator.apply(row) + operator.transposed(row))[0] / 2

    size = operator.size
    symmetric = LinearOperator((size, size), matvec=half, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    eigenvalues = eigsh(
        symmetric, 2 * k, which="BE", tol=tolerance, v0=start, return_eigenvectors=False
    )
    return np.sort(eigenvalues)
