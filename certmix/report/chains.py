"""Chains in the report: what certmix chain stored, certified again from the votes of the runs, or refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certmix.certification.certify import Certificates
from certmix.certification.chain import bound_chain, certify_chain
from certmix.certifiers import CERTIFIERS
from certmix.errors import InvalidArgument
from certmix.formats.certificates import read_certificates
from certmix.pareto import chain_candidate
from certmix.report.words import chain_promise
from certmix.rules import Chain
from certmix.runs.grouping import Run
from certmix.runs.store import Statistics

_SAME = 1e-9  # pixel units; what rounding of other libraries may move


@dataclass(frozen=True)
class ChainData:
    """One chain in the page, where nothing of it moves.

    Attributes:
        made: certificates of one `Chain`, from the votes of its nodes.
        clean: inputs that are right without an attack; None where g was not recorded.
        wanted: inputs of the runs, of which the chain may have some only.
    """

    made: Certificates
    clean: int | None
    wanted: int

    @property
    def chain(self) -> Chain:
        """Its nodes."""
        (chain,) = self.made.rules
        assert isinstance(chain, Chain)
        return chain

    @property
    def name(self) -> str:
        """Such as "chain σ = 0.25, 0.5"."""
        return f"chain σ = {', '.join(f'{sigma:g}' for sigma in self.chain.sigmas)}"

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        promise = self.made.promise
        sure = "" if promise is None or promise.confidence is None else f", votes at least {promise.confidence:g} sure"
        asked = [
            f"σ\u00a0=\u00a0{s:g} above {c:.4g}" for s, c in zip(self.chain.sigmas, self.chain.thresholds, strict=True)
        ]
        return (
            f"The first of {', '.join(asked)} answers, else g ({CERTIFIERS[self.made.certifier].label} certificate{sure}); "
            f"over {len(self.made):,} of the {self.wanted:,} inputs."
        )

    @property
    def promise(self) -> str:
        """In a sentence."""
        assert self.made.promise is not None
        return chain_promise(self.made.promise)

    @property
    def reached(self) -> NDArray[np.float64]:
        """Radii of the inputs that are right and certified, ascending."""
        radius = self.made.radius[0]
        return np.sort(radius[(radius > 0) & (self.made.prediction == self.made.labels)])


def read_chains(folder: str | Path, runs: Sequence[Run]) -> list[ChainData]:
    """The chains whose certificates `certmix chain --out` stored, one for each certifier.

    What is returned was computed here, from the votes: the file says only which chains, promises and inputs.

    Args:
        folder: that holds certificates.parquet.
        runs: that hold every node.
    Raises: InvalidArgument: certificates of no chain, of other runs or inputs, or that these votes do not come to.
        RunError: no certificates, or some that break their format.
    """
    return [_again(stored, str(folder), [run.statistics for run in runs]) for stored in read_certificates(folder)]


def _again(stored: Certificates, folder: str, runs: Sequence[Statistics]) -> ChainData:
    chain, promise = stored.rules[0], stored.promise
    if not isinstance(chain, Chain):
        raise InvalidArgument(
            f"{folder} must hold certificates of a chain, got {chain.label}; those of one run move in the page by themselves."
        )
    nodes = _nodes(chain, folder, runs)
    assert promise is not None
    assert stored.indices is not None
    err, confidence = promise.failure_probability, promise.confidence
    place = {int(index): row for row, index in enumerate(nodes[0].indices)}
    if not set(stored.indices.tolist()) <= set(place):
        raise InvalidArgument(
            f"{folder} must be over inputs of these runs, got others; name the runs that it was made of."
        )
    rows, clean = np.array([place[index] for index in stored.indices.tolist()]), None
    if nodes[0].accurate_probabilities is None:
        bounds = bound_chain(nodes, failure_probability=err, confidence=confidence)
    else:
        candidate = chain_candidate(nodes, failure_probability=err, confidence=confidence)
        bounds, clean = candidate.bounds, round(candidate.clean_accuracy(chain.thresholds, rows) * len(rows))
    made = certify_chain(bounds.rows(rows), chain.thresholds, certifier=stored.certifier)
    same = (
        (np.abs(made.radius[0] - stored.radius[0]) <= _SAME)
        & (made.prediction == stored.prediction)
        & (made.labels == stored.labels)
    )
    if made.promise != promise or not same.all():
        raise InvalidArgument(
            f"{folder} must follow from the votes of these runs, but {np.sum(~same)} of its {len(same)} certificates or "
            "their promise do not; certmix verify says which, certmix chain makes them again."
        )
    return ChainData(made, clean, len(nodes[0]))


def _nodes(chain: Chain, folder: str, runs: Sequence[Statistics]) -> list[Statistics]:
    """The run of every node, by its sigma."""
    nodes: list[Statistics] = []
    for sigma in chain.sigmas:
        left = [run for run in runs if run.sigma == sigma and not any(run is node for node in nodes)]
        if not left:
            wanted, got = (
                ", ".join(f"{s:g}" for s in sigmas) for sigmas in (chain.sigmas, [run.sigma for run in runs])
            )
            raise InvalidArgument(
                f"{folder} is of a chain of runs at sigma {wanted}, got runs at {got}; name them all."
            )
        nodes.append(left[0])
    return nodes
