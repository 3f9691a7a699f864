"""Options that several commands share, spelt and explained once."""

from typing import Annotated

import typer

DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", metavar="SPEC", help="Data set: digits, cifar10:ROOT, folder:DIR, ...; see inspect."),
]
MixingWeightOption = Annotated[
    list[float] | None,
    typer.Option("--mixing-weight", metavar="A", help="0 = accurate model, 1 = robust model; repeat for several."),
]
CertifierOption = Annotated[
    list[str] | None,
    typer.Option(
        "--certifier", metavar="NAME", help="exact, theorem-a1, theorem-3.5, theorem-3.5-paper, cdf; repeatable."
    ),
]
FailureProbabilityOption = Annotated[
    float | None,
    typer.Option("--failure-probability", help="Chance, per input, that its certificate is wrong; 0.001 by default."),
]
CertifiedVotesOption = Annotated[
    str | None,
    typer.Option("--certify-votes", help="hard or soft, where a run holds both; by default what it was drawn for."),
]
BoundOption = Annotated[
    str, typer.Option("--bound", help="Of soft means: betting, bernstein or hoeffding; chosen before looking.")
]
RuleOption = Annotated[
    str, typer.Option("--rule", help="pair (bounds both classes) or cohen (p_B = 1 - p_A, as in 2019).")
]
SkipOption = Annotated[int, typer.Option("--skip", help="Take every so-manieth input.")]
MaxOption = Annotated[
    int | None,
    typer.Option("--max", "--max-inputs", help="Take at most so many inputs (under torchrun, use the long name)."),
]
SplitOption = Annotated[str | None, typer.Option("--split", help="train or test, where the data set has both.")]
HoldoutOption = Annotated[
    float | None,
    typer.Option("--holdout", metavar="SHARE", help="Hold this share of the split out, the same one every time."),
]
NormOption = Annotated[str, typer.Option("--norm", help="Of the attack: l2 or linf.")]
AttackRadiusOption = Annotated[float, typer.Option("--attack-radius", metavar="R", help="In [0, 1] pixel units.")]
WeightRangeOption = Annotated[
    str | None,
    typer.Option("--weight-range", metavar="MIN,MAX", help="Range of a(x); certificates need MIN >= 0.5."),
]
ScaleOption = Annotated[
    list[float] | None,
    typer.Option("--scale", metavar="S", help="Scale of the sigmoid; of several, the best under attack B is kept."),
]
IndicesOption = Annotated[
    str | None, typer.Option("--indices", metavar="I,J,...", help="Take just these positions of the split.")
]
ModelOption = Annotated[
    list[str] | None, typer.Option("-M", metavar="KEY=VALUE", help="Option of the model loaders; repeatable.")
]
TrustOption = Annotated[bool, typer.Option("--trust-model", help="Allow sources that run code (py:, pt2:).")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
RadiiOption = Annotated[
    str | None, typer.Option("--radii", metavar="R,R,...", help="Radii of the table, in pixel units.")
]
FormatOption = Annotated[str, typer.Option("--format", help="Table format: markdown, latex or csv.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages on stderr.")]


def numbers(text: str, name: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers of a comma-separated option. Raises InvalidArgument where it is none, or another count."""
    from certmix.errors import InvalidArgument

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or (count is not None and len(values) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise InvalidArgument(f"{name} must be {wanted} separated by commas, got {text!r}.")
    return values


def key_values(pairs: list[str] | None) -> dict[str, str]:
    """Options of `-M KEY=VALUE`. Raises InvalidArgument where one is not a pair."""
    from certmix.errors import InvalidArgument

    for pair in pairs or []:
        if "=" not in pair:
            raise InvalidArgument(f"-M must be key=value, got {pair!r}; for example -M arch=digits-cnn.")
    return dict(pair.split("=", 1) for pair in pairs or [])
