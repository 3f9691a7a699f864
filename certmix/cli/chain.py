"""`certmix chain`: runs at several sigmas as one classifier, at thresholds given or chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import values
from certmix.cli.command import command, need, option, option_names, refuse_others
from certmix.cli.options import (
    CERTIFICATES,
    CertifierOption,
    ConfidencesOption,
    FailureProbabilityOption,
    FileOption,
    ForceOption,
    RadiiOption,
    SeedOption,
    ThresholdOption,
)
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import Numbers

if TYPE_CHECKING:
    from certmix.certification.chain import ChainCertificates
    from certmix.pareto import ChainCandidate
    from certmix.runs.store import Statistics

_OBJECTIVE = Numbers((0.25, 0.5, 0.75))
_CHOSEN = {"target", "choose_on", "seed", "objective"}


@command(app, "chain")
def chain_command(
    context: typer.Context,
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, in the order of the nodes.")],
    threshold: ThresholdOption = None,
    confidence: ConfidencesOption = None,
    target: Annotated[
        float | None, option("--target", "ACC", "Clean accuracy to keep, in [0, 1].", values.WEIGHT, CERTIFICATES)
    ] = None,
    choose_on: Annotated[
        float | None,
        option("--choose-on", "SHARE", "Choose on this share, report on the rest.", values.SHARE, CERTIFICATES),
    ] = None,
    objective: Annotated[
        Numbers | None,
        option(
            "--objective",
            "R,R,...",
            "Radii whose certified accuracies are summed; .25,.5,.75 if none.",
            values.ascending,
            CERTIFICATES,
        ),
    ] = None,
    seed: SeedOption = 0,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    radii: RadiiOption = None,
    out: FileOption = None,
    force: ForceOption = False,
    output: Output,
) -> None:
    """Certify a chain of runs, each with a threshold, then g.

    \b
    A node answers with its class where its share of votes exceeds its threshold, else the next node is asked, at last g:
      certmix chain runs/quarter runs/half --threshold 0.8 --threshold 0.4
    Thresholds, and the confidence of votes, chosen on half of the inputs and reported on the others:
      certmix chain runs/quarter runs/half --target 0.97 --choose-on 0.5 --confidence 0.75 --confidence 0.875
    """
    import certmix
    from certmix.errors import InvalidArgument
    from certmix.files import check_target, write_whole

    if out is not None:
        check_target(out, force=force)
    statistics = [certmix.read_statistics(run) for run in runs]
    names = certifier or ["exact"]
    if threshold:
        refuse_others(context, "chain --threshold", option_names(Output) | set(context.params) - _CHOSEN)
        if len(confidence or []) > 1:
            raise InvalidArgument(
                "chain --threshold takes one --confidence; give --target and --choose-on to choose one."
            )
        rows = _given(statistics, threshold, confidence, names, failure_probability)
    else:
        need("chain without --threshold", target=target, choose_on=choose_on)
        rows = [
            _chosen(statistics, confidence, name, failure_probability, float(target or 0), choose_on, seed, objective)
            for name in names
        ]
    at = radii.values if radii else (0.0, *_OBJECTIVE.values)
    shown = [_row(*row, at) for row in rows]
    if out is not None:
        write_whole(out, _table(rows[0][1]), force=force)
    note = (
        f"Each certificate is wrong with probability at most {rows[0][1].failure_probability:g}, all nodes together, "
        f"whatever the accurate model does. {len(rows[0][1].labels)} inputs reported."
    )
    output.show({"chains": shown}, _text(shown, output.table_format), [note])


Row = tuple["float | None", "ChainCertificates", "float | None"]  # clean accuracy, certificates, confidence


def _given(
    statistics: "Sequence[Statistics]",
    thresholds: list[float],
    confidence: list[float] | None,
    names: Sequence[str],
    failure_probability: float | None,
) -> list[Row]:
    """The chain as typed."""
    import numpy as np

    from certmix.certification.chain import bound_chain, certify_chain
    from certmix.pareto import chain_candidate
    from certmix.promise import DEFAULT_FAILURE_PROBABILITY

    how: dict[str, Any] = {
        "failure_probability": failure_probability or DEFAULT_FAILURE_PROBABILITY,
        "confidence": confidence[0] if confidence else None,
    }
    clean = None
    bounds = bound_chain(statistics, **how)
    made = [certify_chain(bounds, thresholds, certifier=name) for name in names]
    if statistics[0].accurate_probabilities is not None:
        clean = chain_candidate(statistics, **how).clean_accuracy(thresholds, np.arange(len(bounds.labels)))
    return [(clean, one, how["confidence"]) for one in made]


def _chosen(
    statistics: "Sequence[Statistics]",
    confidences: list[float] | None,
    certifier: str,
    failure_probability: float | None,
    target: float,
    split: float | None,
    seed: int,
    objective: Numbers | None,
) -> Row:
    """The chain that certifies most on some inputs, on the others."""
    from certmix.certification.chain import certify_chain
    from certmix.errors import InvalidArgument
    from certmix.pareto import chain_candidate, choose_thresholds, split_rows
    from certmix.promise import DEFAULT_FAILURE_PROBABILITY

    choose, report = split_rows(len(statistics[0]), split, seed)
    radii = (objective or _OBJECTIVE).values
    best: tuple[float, tuple[float, ...], ChainCandidate, float | None] | None = None
    refused: InvalidArgument | None = None
    kappas: list[float | None] = [*confidences] if confidences else [None]
    for kappa in kappas:
        candidate = chain_candidate(
            statistics, failure_probability=failure_probability or DEFAULT_FAILURE_PROBABILITY, confidence=kappa
        )
        try:
            thresholds, score = choose_thresholds(candidate, choose, target=target, radii=radii, certifier=certifier)
        except InvalidArgument as error:  # another confidence may reach the target
            refused = error
            continue
        if best is None or score > best[0]:
            best = score, thresholds, candidate, kappa
    if best is None:
        assert refused is not None
        raise refused
    _, thresholds, candidate, kappa = best
    made = certify_chain(candidate.bounds.rows(report), thresholds, certifier=certifier)
    return candidate.clean_accuracy(thresholds, report), made, kappa


def _row(
    clean: float | None, made: "ChainCertificates", confidence: float | None, at: Sequence[float]
) -> dict[str, Any]:
    """Plain values of one chain."""
    from certmix.certification.certify import certified_at

    right = made.prediction == made.labels
    return {
        "certifier": made.certifier,
        "sigma": made.sigma.tolist(),
        "thresholds": list(made.thresholds),
        "confidence": confidence,
        "inputs": len(made.labels),
        "clean_accuracy": clean,
        "radii": list(at),
        "certified_accuracy": [float((right & certified_at(made.radius, r)).mean()) for r in at],
        "failure_probability": made.failure_probability,
    }


def _text(rows: Sequence[dict[str, Any]], table_format: str) -> str:
    from certmix.tables import percent_text, render_table

    headers = ["certifier", "nodes", "confidence", "clean", *(f"r = {r:g}" for r in rows[0]["radii"])]
    body = []
    for row in rows:
        nodes = ", ".join(f"sigma {s:g}: {c:.4g}" for s, c in zip(row["sigma"], row["thresholds"], strict=True))
        clean = "" if row["clean_accuracy"] is None else percent_text(row["clean_accuracy"])
        sure = "" if row["confidence"] is None else f"{row['confidence']:g}"
        body.append([row["certifier"], nodes, sure, clean, *map(percent_text, row["certified_accuracy"])])
    return render_table(headers, body, table_format)


def _table(made: "ChainCertificates") -> str:
    from certmix.tables import floor_text

    rows = zip(made.indices, made.labels, made.prediction, made.radius, strict=True)
    lines = [
        "\t".join(map(str, (i, label, guess, floor_text(r, 6), int(guess == label)))) for i, label, guess, r in rows
    ]
    return "\n".join(["idx\tlabel\tpredict\tradius\tcorrect", *lines]) + "\n"
