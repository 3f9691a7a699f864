"""`certmix adaptive calibrate`: another clean accuracy or another range of the gate, without training again."""

from pathlib import Path
from typing import Annotated

import typer

from certmix.cli.adaptive import app
from certmix.cli.adaptive.options import BaseModels, GateRangeOption, HeldOut, TargetOption
from certmix.cli.command import command, option
from certmix.cli.options import ForceOption, NormOption, Placement, ScaleOption, SigmaOption
from certmix.cli.output import Answer
from certmix.cli.values import RADIUS, output_path
from certmix.files import check_target


@command(app, "calibrate")
def calibrate_command(
    *,
    mixture: Annotated[Path, typer.Argument(metavar="MIXTURE", help="File of certmix adaptive train.")],
    bases: BaseModels,
    dataset: Annotated[str, option("--dataset", "SPEC", "Data set of the held-out inputs.")],
    held_out: HeldOut,
    target: TargetOption = None,
    gate_range: GateRangeOption = None,
    scale: ScaleOption = None,
    sigma: SigmaOption = None,
    norm: NormOption = "linf",
    attack_radius: Annotated[float, option("--attack-radius", "R", "Budget, in pixel units.", RADIUS)] = 0.1,
    placement: Placement,
    out: Annotated[Path, option("--out", "FILE", "The calibrated mixture (.safetensors).", output_path)],
    force: ForceOption = False,
    output: Answer,
) -> None:
    """Shift a gate so that clean accuracy meets a target.

    \b
    Clean accuracy is a step function of the shift: the largest shift that meets the target is found without a search.
    With --sigma the robust model is smoothed, as certified:
      certmix adaptive calibrate mixture.safetensors --dataset digits --target 0.96 --gate-range 0.8,1 \\
        --out calibrated.safetensors
    """
    from dataclasses import asdict

    from certmix.adaptive.attacks import AttackBudget
    from certmix.adaptive.calibration import calibrate_mixture
    from certmix.adaptive.files import read_mixture_file, save_mixture

    check_target(out, force=force)
    model = bases.load(str(mixture))
    placement.place(model)
    if gate_range is not None:
        model.set_gate_range(gate_range.low, gate_range.high)
    found = calibrate_mixture(
        model, held_out.load(dataset, bases.trust_model), target=target, scales=scale or [2.0],
        budget=AttackBudget(norm, attack_radius), sigma=sigma, batch_size=placement.batch_size,
    )  # fmt: skip
    save_mixture(model, out, history={**read_mixture_file(mixture).history, **asdict(found)}, force=force)
    text = (
        f"{out}: {100 * found.clean_accuracy:.1f} % of the {found.held_out} inputs right, a(x) in [{found.floor:g}, "
        f"{found.ceiling:g}], scale {found.scale:g}, shift {found.shift:.3f}"
    )
    output.show({"out": str(out), **asdict(found)}, text)
