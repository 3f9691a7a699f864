"""The denoiser of a model spec: `denoiser=SPEC` for an image-to-image module, `diffusion=SPEC` for a diffusion model.

    cohen:base.pth.tar,denoiser=py:denoiser.py:build,denoiser.width=64
    hf:org/vit,diffusion=py:ddpm.py:build,schedule=cosine:4000,sigma=0.5,step_scale=0.25,upsample=224

`denoiser.KEY=VALUE` and `diffusion.KEY=VALUE` are options of that module's own source.
"""

from collections.abc import Callable

from torch import nn

from certmix.errors import InvalidArgument
from certmix.models.denoised import DenoisedClassifier, DiffusionDenoiser
from certmix.models.noise_schedule import parse_schedule

_LARGEST_SIDE = 8192
Load = Callable[[str, dict[str, str]], nn.Module]


def denoiser_of(settings: dict[str, str], spec: str, load: Load) -> Callable[[nn.Module], nn.Module]:
    """Puts the denoiser that options ask for before a classifier; takes those options out of `settings`.

    Args:
        settings: options of a model spec; denoiser, diffusion, schedule, sigma, prediction, step_scale, upsample are ours
            where a denoiser is asked for.
        spec: the whole spec, for errors.
        load: a module from its spec and options.
    Raises: InvalidArgument: both kinds at once, a diffusion model without schedule or sigma, or values out of range.
    """
    kinds = [name for name in ("denoiser", "diffusion") if name in settings]
    if not kinds:
        return lambda classifier: classifier
    if len(kinds) == 2:
        raise InvalidArgument(f"give denoiser or diffusion, not both, in {spec!r}.")
    kind = kinds[0]
    reference = settings.pop(kind)
    own = {name.partition(".")[2]: settings.pop(name) for name in list(settings) if name.startswith(f"{kind}.")}
    upsample = _number("upsample", settings.pop("upsample", None))
    if kind == "denoiser":
        module = load(reference, own)
    else:
        for name in ("schedule", "sigma"):
            if name not in settings:
                raise InvalidArgument(
                    f"diffusion needs schedule and sigma (that of the draws), got no {name} in {spec!r}."
                )
        module = DiffusionDenoiser(
            load(reference, own),
            parse_schedule(settings.pop("schedule")),
            _number("sigma", settings.pop("sigma")) or 0.0,
            prediction=settings.pop("prediction", "epsilon"),
            step_scale=_number("step_scale", settings.pop("step_scale", None)) or 1.0,
        )
    if upsample is not None and not (upsample.is_integer() and 1 <= upsample <= _LARGEST_SIDE):
        raise InvalidArgument(f"upsample must be a whole number of 1 to {_LARGEST_SIDE:,} pixels, got {upsample:g}.")
    side = None if upsample is None else int(upsample)
    return lambda classifier: DenoisedClassifier(module, classifier, upsample=side)


def _number(name: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InvalidArgument(f"{name} must be a number, got {text!r}.") from None
