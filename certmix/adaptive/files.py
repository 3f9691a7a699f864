"""Files of adaptive mixtures: the mixing network, and which two models it belongs to; the models stay in their own files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from certmix.adaptive.mixture import AdaptiveMixture, Design
from certmix.errors import CertmixError, InvalidArgument
from certmix.files import write_whole
from certmix.json_fields import Fields
from certmix.models import fingerprint, load_model
from certmix.models.checkpoints import read_state
from certmix.runs.draws import ModelRecord

KIND = "adaptive-mixture"  # what the metadata calls such a file; `load_model` refuses it by this name
BASES = ("accurate", "robust")
History = Mapping[str, str | int | float | None]


@dataclass(frozen=True)
class MixtureFile:
    """What a mixture's file says about it, besides the network's weights.

    Attributes:
        design: what rebuilds the network.
        accurate, robust: the base models.
        history: how it was trained and calibrated, for people to read.
    """

    design: Design
    accurate: ModelRecord
    robust: ModelRecord
    history: History

    def to_json(self) -> str:
        """The metadata of the file."""
        design = asdict(self.design)
        for name in BASES:
            first, second = design[f"{name}_layers"]
            design[f"{name}_layers"] = {"first": first, "second": second}
        whole = {"design": design, "accurate": asdict(self.accurate), "robust": asdict(self.robust)}
        return json.dumps({"architecture": KIND, **whole, "history": dict(self.history)})

    @classmethod
    def from_json(cls, tree: Fields) -> "MixtureFile":
        """Raises RunError where a field breaks its rule."""
        tree.choice("architecture", (KIND,))
        design = tree.part("design")
        built = Design(
            input_shape=design.integers("input_shape", 1, 10**9),
            kind=design.text("kind"),
            width=design.integer("width", 1, 10**6),
            accurate_layers=_pair(design.part("accurate_layers")),
            robust_layers=_pair(design.part("robust_layers")),
        )
        bases = [ModelRecord.from_json(tree.part(name)) for name in BASES]
        made = cls(built, bases[0], bases[1], tree.scalars("history"))
        tree.end()
        return made


def _pair(tree: Fields) -> tuple[str, str]:
    return tree.text("first"), tree.text("second")


def save_mixture(
    mixture: AdaptiveMixture,
    path: str | Path,
    *,
    history: History,
    force: bool = False,
) -> None:
    """Write a mixture: network, calibration and range, with spec (None where a model came from Python) and sha256 of its
    base models, which are not copied.

    Args:
        mixture: on any device.
        path: where (.safetensors); must not exist unless `force`.
        history: how it was trained and calibrated.
        force: overwrite.
    Raises: InvalidArgument, FileError: as `certmix.files.write_whole`.
    """
    about = MixtureFile(mixture.design, _record(mixture.accurate), _record(mixture.robust), history)
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in _own_state(mixture).items()}
    write_whole(path, save(state, metadata={"certmix": about.to_json()}), force=force)


def read_mixture_file(path: str | Path) -> MixtureFile:
    """What a mixture's file says about it; no model is loaded. Raises InvalidArgument: a file of something else."""
    return _read(str(path))[0]


def load_mixture(
    path: str | Path, *, accurate: str | None = None, robust: str | None = None, trust_model: bool = False
) -> AdaptiveMixture:
    """The adaptive mixture of a file, in eval mode on the CPU, around its base models.

    Guarantee: the base models are the ones it was trained with, by their sha256. What the file names is loaded without
    trust: a base model that runs code must be given as a spec, by whoever trusts it.

    Args:
        path: a file of `save_mixture`.
        accurate, robust: specs of the base models, where the file's own do not serve.
        trust_model: allow given specs to run code.
    Raises: InvalidArgument: a file of something else, or a base model that is missing, another, or not trusted.
    """
    about, state = _read(str(path))
    bases = {
        name: _load_base(str(path), name, record, given, trust_model)
        for name, record, given in (("accurate", about.accurate, accurate), ("robust", about.robust, robust))
    }
    mixture = AdaptiveMixture(
        accurate=bases["accurate"],
        robust=bases["robust"],
        input_shape=about.design.input_shape,
        kind=about.design.kind,
        width=about.design.width,
        accurate_layers=about.design.accurate_layers,
        robust_layers=about.design.robust_layers,
    )
    own = _own_state(mixture)
    wrong = {name for name in own.keys() | state.keys() if name not in own or name not in state}
    wrong |= {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    if wrong:
        raise InvalidArgument(f"{path} is damaged (tensor {min(wrong)!r} is missing or does not fit); train it again.")
    mixture.load_state_dict(state, strict=False)
    return mixture.eval()


def trained_on_others(spec: str, dataset_fingerprint: str, validation: float | None = None) -> bool:
    """Whether certmix trained a model on other inputs than these, by its file; False where the file does not say.

    Args:
        spec: of the model.
        dataset_fingerprint: of the inputs, with those of the validation part.
        validation: share of the inputs that was judged and not trained on; None for none.
    """
    path = spec.partition(",")[0]
    if not path.endswith(".safetensors") or not Path(path).is_file():
        return False
    try:
        with safe_open(path, framework="pt") as handle:
            own = json.loads((handle.metadata() or {}).get("certmix", "{}"))
        training = own.get("training", {})
        if validation is not None and training.get("validation") != validation:
            return "fingerprint" in training
        return "fingerprint" in training and training["fingerprint"] != dataset_fingerprint
    except (SafetensorError, OSError, ValueError, AttributeError, TypeError):
        return False


def _record(model: torch.nn.Module) -> ModelRecord:
    return ModelRecord(vars(model).get("certmix_spec"), fingerprint(model))


def _read(path: str) -> tuple[MixtureFile, dict[str, torch.Tensor]]:
    state, metadata = read_state(path)
    try:
        own = json.loads(str(metadata.get("certmix", "{}")))
    except ValueError:
        own = {}
    kind = own.get("architecture") if isinstance(own, dict) else None
    if kind != KIND:
        raise InvalidArgument(
            f"{path} must be a file of certmix adaptive train, got one of {kind or 'something else'}."
        )
    return MixtureFile.from_json(Fields(own, path)), state


def _own_state(mixture: AdaptiveMixture) -> dict[str, torch.Tensor]:
    """The state without that of the base models."""
    prefixes = tuple(f"{name}." for name in BASES)
    return {name: tensor for name, tensor in mixture.state_dict().items() if not name.startswith(prefixes)}


def _load_base(path: str, name: str, record: ModelRecord, given: str | None, trust_model: bool) -> torch.nn.Module:
    spec = given or record.spec
    if spec is None:
        raise InvalidArgument(
            f"{path} does not say where its {name} model is (it was made from Python); give --{name} SPEC."
        )
    try:
        model = load_model(spec, trust_model=trust_model and given is not None)
    except CertmixError as error:
        if given is not None:
            raise
        raise InvalidArgument(
            f"{path} names its {name} model as {record.spec!r}, which does not load: {error} "
            f"Give --{name} SPEC (with --trust-model where it runs code)."
        ) from None
    found = fingerprint(model)
    if found != record.sha256:
        raise InvalidArgument(
            f"--{name} must be the {name} model that {path} was trained with, sha256 {record.sha256[:12]}, got "
            f"{spec!r} with sha256 {found[:12]}."
        )
    return model
