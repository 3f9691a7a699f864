"""`certmix chain`: runs at several sigmas as one classifier, at thresholds given or chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from certmix.cli import options, values
from certmix.cli.command import command, need, option_names, own, refuse_others
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import Numbers
from certmix.errors import InvalidArgument
from certmix.promise import DEFAULT_FAILURE_PROBABILITY
from certmix.tables import percent_text, render_table

if TYPE_CHECKING:
    from certmix.certification.certify import Certificates
    from certmix.runs.store import Statistics

_OBJECTIVE = Numbers((0.25, 0.5, 0.75))


@dataclass(frozen=True)
class ChoiceOptions:
    """How thresholds that are not given are chosen."""

    panel: ClassVar[str] = options.CERTIFICATES
    target: float | None = own(None, "--target", "ACC", "Clean accuracy to keep, in [0, 1].", values.WEIGHT)
    choose_on: float | None = own(
        None, "--choose-on", "SHARE", "Choose on this share, report on the rest.", values.SHARE
    )
    objective: Numbers | None = own(
        None, "--objective", "R,R,...", "Radii whose certified accuracies are summed; .25,.5,.75 if none.",
        values.ascending,
    )  # fmt: skip
    seed: options.SeedOption = 0


@command(app, "chain")
def chain_command(
    context: typer.Context,
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, by node.")],
    threshold: options.ThresholdOption = None,
    confidence: options.ConfidencesOption = None,
    choice: ChoiceOptions,
    certifier: options.CertifierOption = None,
    failure_probability: options.FailureProbabilityOption = None,
    radii: options.RadiiOption = None,
    out: options.FolderOption = None,
    force: options.ForceOption = False,
    output: Output,
) -> None:
    """Certify a chain of runs, each with a threshold, then g.

    \b
    A node answers with its class where its share of votes exceeds its threshold, else the next node is asked, at last g:
      certmix chain runs/quarter runs/half --threshold 0.8 --threshold 0.4
    Thresholds, and the confidence of votes, chosen on half of the inputs and reported on the others:
      certmix chain runs/quarter runs/half --target 0.97 --choose-on 0.5 --confidence 0.75 --confidence 0.875
    --out keeps the certificates; `certmix verify` checks them, and `certmix predict` is the chain to deploy:
      certmix chain runs/quarter runs/half --threshold 0.8 --threshold 0.4 --out chained
      certmix verify runs/quarter runs/half --certificates chained
    Its curve beside those of its runs, as a figure or in a page:
      certmix plot runs/quarter runs/half --certificates chained --out figures/chain
      certmix report runs/quarter runs/half --certificates chained --out report.html
    """
    from certmix.cli.certify import outside_runs
    from certmix.formats.certificates import write_certificates
    from certmix.report.words import chain_promise
    from certmix.runs.grouping import read_nodes

    if out is not None:
        outside_runs(out)
    statistics = [run.statistics for run in read_nodes(runs)]
    names = certifier or ["exact"]
    if threshold:
        refuse_others(
            context, "chain --threshold", option_names(Output) | set(context.params) - option_names(ChoiceOptions)
        )
        if len(confidence or []) > 1:
            raise InvalidArgument(
                "chain --threshold takes one --confidence; give --target and --choose-on to choose one."
            )
        rows = _given(statistics, threshold, confidence, names, failure_probability)
    else:
        need("chain without --threshold", target=choice.target, choose_on=choice.choose_on)
        rows = [_chosen(statistics, confidence, name, failure_probability, choice) for name in names]
    at = radii.values if radii else (0.0, *_OBJECTIVE.values)
    shown = [_row(*row, at) for row in rows]
    certificates = [made for _, made in rows]
    files = [] if out is None else write_certificates(out, certificates, force=force)
    promise = certificates[0].promise
    said = f"{len(certificates[0])} inputs reported. {chain_promise(promise) if promise else ''}"
    notes = [said, *([f"Written: {', '.join(files)}"] if files else [])]
    output.show({"chains": shown, "files": files}, _text(shown, output.table_format, said), notes)


Row = tuple["float | None", "Certificates"]  # clean accuracy, and certificates of one chain


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

    how: dict[str, Any] = {
        "failure_probability": failure_probability or DEFAULT_FAILURE_PROBABILITY,
        "confidence": confidence[0] if confidence else None,
    }
    clean = None
    bounds = bound_chain(statistics, **how)
    made = [certify_chain(bounds, thresholds, certifier=name) for name in names]
    if statistics[0].accurate_probabilities is not None:
        clean = chain_candidate(statistics, **how).clean_accuracy(thresholds, np.arange(len(bounds.labels)))
    return [(clean, one) for one in made]


def _chosen(
    statistics: "Sequence[Statistics]",
    confidences: list[float] | None,
    certifier: str,
    failure_probability: float | None,
    choice: ChoiceOptions,
) -> Row:
    """The chain that certifies most on some inputs, on the others."""
    from certmix.certification.chain import certify_chain
    from certmix.pareto import chain_candidate, choose_chain, split_rows

    choose, report = split_rows(len(statistics[0]), choice.choose_on, choice.seed)
    err = failure_probability or DEFAULT_FAILURE_PROBABILITY
    kappas: list[float | None] = [*confidences] if confidences else [None]
    candidates = [chain_candidate(statistics, failure_probability=err, confidence=kappa) for kappa in kappas]
    radii, target = (choice.objective or _OBJECTIVE).values, float(choice.target or 0)
    best, thresholds = choose_chain(candidates, choose, target=target, radii=radii, certifier=certifier)
    made = certify_chain(candidates[best].bounds.rows(report), thresholds, certifier=certifier)
    return candidates[best].clean_accuracy(thresholds, report), made


def _row(clean: float | None, made: "Certificates", at: Sequence[float]) -> dict[str, Any]:
    """Plain values of one chain."""
    from certmix.curves import certified_accuracy

    assert made.labels is not None
    (chain,) = made.rules
    return {
        **certified_accuracy(made, made.labels, at).to_json()[0],
        **chain.to_json(),
        "clean_accuracy": clean,
        "failure_probability": made.promise.failure_probability if made.promise else None,
    }


def _text(rows: Sequence[dict[str, Any]], table_format: str, said: str) -> str:
    confident = ["confidence"] if any(row["confidence"] is not None for row in rows) else []
    headers = ["certifier", "rule", *confident, "clean", *(f"r = {r:g}" for r in rows[0]["radii"])]
    body = []
    for row in rows:
        clean = "" if row["clean_accuracy"] is None else percent_text(row["clean_accuracy"])
        sure = ["" if row["confidence"] is None else f"{row['confidence']:g}"] if confident else []
        accuracies = zip(row["certified_accuracy"], row["lower"], row["upper"], strict=True)
        cells = [
            f"{percent_text(a)} [{percent_text(low)}, {percent_text(high, up=True)}]" for a, low, high in accuracies
        ]
        body.append([row["certifier"], row["rule"], *sure, clean, *cells])
    caption = f"Certified accuracy in %, rounded down, at l2 radius r (pixel units), with 95 % intervals. {said}"
    return render_table(headers, body, table_format, caption)
