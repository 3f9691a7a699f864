"""What a report says in sentences: promise, draws, and what a reader must be warned of."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from certmix.certification.schedule import Schedule
from certmix.promise import Promise
from certmix.runs.draws import Draws
from certmix.runs.grouping import Run


@dataclass(frozen=True)
class Section:
    """What is promised of one run and how it was drawn.

    Attributes:
        title: names sigma.
        promise: in a sentence.
        facts: name and value of everything that defines the draws.
    """

    title: str
    promise: str
    facts: Sequence[tuple[str, str]]


def run_section(run: Run, promise: Promise) -> Section:
    """A run in words."""
    draws, used = run.statistics.draws, int(run.statistics.estimation_draws.sum())
    each = f"{draws.num_selection:,} that choose the class and {draws.num_estimation:,} that bound it, per input"
    if draws.schedule is not None:
        each = each.replace("and ", "and up to ", 1) + f", stopped early: {used:,} were used"
    if draws.enumerated:
        each = f"all {draws.num_estimation:,} values of the noise, per input"
    noise = {"float": "Gaussian, float64", "integer": "integer", "splitting": "splitting (certifies l1 balls)"}[
        draws.noise.kind
    ] + (f", {draws.noise.levels} steps per pixel unit" if draws.noise.levels else "")
    source = {"fresh": "from the system", "chosen": "chosen by hand", "derived": f"derived from {draws.seed_text!r}"}
    facts = [
        ("run", run.name),
        ("inputs", f"{run.coverage} of {draws.dataset.spec} ({draws.dataset.subset_text})"),
        ("robust model h", _model(draws.model.spec, draws.model.sha256)),
        (
            "accurate model g",
            "not recorded" if draws.accurate is None else _model(draws.accurate.spec, draws.accurate.sha256),
        ),
        ("draws", each),
        ("noise", f"{noise}, generator {draws.noise.generator}"),
        ("seed", f"{draws.seed:#x}, {source[draws.seed_source]}"),
        ("votes", _votes(promise)),
    ]
    return Section(scale_name(draws), promise.text, facts)


def chain_promise(promise: Promise) -> str:
    """What the certificates of a chain promise, in words."""
    return f"{promise.text[:-1]}, shared equally by the nodes."


def scale_name(draws: Draws) -> str:
    """Such as "σ = 0.5", or "Λ = 1.5" of splitting noise."""
    return f"{'Λ' if draws.enumerated else 'σ'} = {draws.sigma:g}"


def _votes(promise: Promise) -> str:
    if promise.votes == "confident":
        return f"shares of draws in which h is at least {promise.confidence} sure of a class"
    return "shares of classes" if promise.votes == "hard" else "mean class probabilities"


def _model(spec: str | None, sha256: str) -> str:
    return f"{spec or 'from Python'} (sha256 {sha256[:12]}…)"


def warnings_of(runs: Sequence[tuple[Run, Promise]]) -> list[str]:
    """What a reader of these runs must know, most serious first; the same for several sigmas is said once."""
    found: dict[str, list[str]] = {}
    for run, promise in runs:
        for line in _warnings(run, promise):
            found.setdefault(line, []).append(f"{run.statistics.sigma:g}")
    said = [f"σ = {', '.join(sigmas)}: {line}" if len(sigmas) < len(runs) else line for line, sigmas in found.items()]
    return [line if line.startswith("σ") else line[0].upper() + line[1:] for line in said] + [
        "Every certificate holds for all weights, thresholds and radii at once. An accuracy does not: a parameter that was "
        "chosen because it looks best on these inputs looks better here than on others. Choose on other inputs than you "
        "report (certmix pareto --choose-on)."
    ]


def _warnings(run: Run, promise: Promise) -> list[str]:
    statistics, draws, missing = run.statistics, run.statistics.draws, run.wanted - len(run.statistics)
    lines = []
    if missing:
        lines.append(f"{missing} of {run.wanted} inputs are missing; accuracies are of those that were drawn.")
    if draws.noise.kind == "float":
        lines.append(
            "the noise is float: certificates hold up to rounding of the noisy input; integer noise has no such gap."
        )
    elif draws.enumerated:
        lines.append("certificates are about l1 balls, and about perturbed inputs on the data's own grid alone.")
    elif not promise.real_valued:
        lines.append(
            "certificates are about perturbed inputs on the data's own grid; --real-valued covers all others, by less."
        )
    invalid = int(statistics.estimation_invalid.sum())
    if invalid:
        lines.append(f"{invalid:,} draws gave no finite output and were counted as votes against.")
    if draws.accurate is None:
        lines.append("the accurate model was not recorded: clean accuracy of mixtures and the frontier are not known.")
    if draws.schedule is not None:
        lines.append(
            "sampling could stop early: radii that it did not stop for are valid, but smaller than a full run's."
        )
    if promise.confidence is not None:
        lines.append(f"the confidence {promise.confidence} must have been chosen on other inputs, or before looking.")
    if draws.seed_source == "chosen" and not draws.enumerated:
        lines.append("the seed was chosen by hand: that no other was tried before has to be believed.")
    return lines


def left_out(runs: Sequence[tuple[Run, Promise]], *, chained: bool = False) -> str:
    """What these runs hold or allow and the page does not show: never silently."""
    found = ["the family of rules between Eq. 5 and the threshold"]
    if len(runs) > 1 and not chained and not runs[0][0].statistics.draws.enumerated:
        found.append("chains of several sigmas (certmix chain --out DIR, then certmix report --certificates DIR)")
    if any(run.statistics.soft is not None for run, _ in runs):
        found.append("the CDF certificate, which needs whole distributions (--certifier cdf)")
    said = f"Left out, though the same draws certify it: {'; '.join(found)}."
    if any((folder / "adaptive.parquet").is_file() for run, _ in runs for folder in run.folders):
        said += (
            " An adaptive mixture is stored beside the draws: its certificates are those of Eq. 5 at the floor of its gate, "
            "and its clean accuracy, at the gate itself, is not shown (certmix certify prints it)."
        )
    return said


def redraw_command(draws: Draws) -> tuple[str, str] | None:
    """The command that draws one input again, as the text before and after its index; None for a model from Python."""
    words = _draw_words(draws)
    return None if words is None else (f"{shlex.join([*words, '--out', 'redrawn', '--indices'])} ", "")


def draw_command(draws: Draws, out: str) -> str | None:
    """The command that draws the whole run again; None for a model from Python."""
    words = _draw_words(draws)
    if words is None:
        return None
    for name, option in (("skip", "--skip"), ("max", "--max-inputs"), ("indices", "--indices")):
        value = draws.dataset.subset.get(name)
        if value is not None and (name, value) != ("skip", 1):
            words += [option, str(value)]
    return shlex.join([*words, "--out", out])


def _draw_words(draws: Draws) -> list[str] | None:
    """`certmix sample` without its inputs and its folder."""
    if draws.model.spec is None or (draws.accurate is not None and draws.accurate.spec is None):
        return None
    words = ["certmix", "sample", "--robust", draws.model.spec]
    if draws.accurate is not None and draws.accurate.spec is not None:
        words += ["--accurate", draws.accurate.spec]
    words += ["--dataset", draws.dataset.spec]
    for name in ("split", "holdout"):
        if draws.dataset.subset.get(name) is not None:
            words += [f"--{name}", str(draws.dataset.subset[name])]
    if draws.enumerated:
        words += ["--lambda", repr(draws.sigma)]
    else:
        words += ["--sigma", repr(draws.sigma), "--num-selection", str(draws.num_selection)]
        words += ["--num-estimation", str(draws.num_estimation), "--votes", draws.votes]
    words += ["--noise", draws.noise.kind]
    if draws.confidence is not None:
        words += ["--confidence", repr(draws.confidence)]
    if draws.schedule is not None:
        words += _stopping(draws.schedule)
    return [*words, "--on-invalid", draws.on_invalid, "--seed", str(draws.seed)]


def _stopping(schedule: Schedule) -> list[str]:
    option = {"linear": "--mixing-weight", "threshold": "--threshold"}[schedule.rule.kind]
    words = [option, repr(schedule.rule.parameter), "--failure-probability", repr(schedule.failure_probability)]
    if schedule.target_radius is not None:
        return [*words, "--stop-at-radius", repr(schedule.target_radius)]
    return [*words, "--radius-tolerance", repr(schedule.radius_tolerance)]
