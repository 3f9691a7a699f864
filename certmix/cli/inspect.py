"""`certmix inspect`: what a model, a data set or a run is, before (or after) hours of sampling."""

from pathlib import Path
from typing import Annotated, Any

import typer

import certmix
from certmix.cli import options, values
from certmix.cli.command import command, option, refuse_others
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.errors import InvalidArgument

_BOTH = ("py", "torchvision", "hf")  # sources of models and of data sets


@command(app, "inspect")
def inspect_command(
    context: typer.Context,
    *,
    target: Annotated[
        str | None, typer.Argument(metavar="[SPEC|RUN]", help="A model, a data set or a run folder.")
    ] = None,
    dataset: options.DatasetOption = None,
    count: Annotated[int, option("--inputs", "N", "Inputs of the clean accuracy.", values.COUNT)] = 100,
    read_all: Annotated[
        bool, option("--read-all", None, "Read every input of the data set: names broken files, prints its sha256.")
    ] = False,
    split: options.SplitOption = None,
    skip: options.SkipOption = 1,
    max_inputs: options.MaxOption = None,
    indices: options.IndicesOption = None,
    model: options.ModelOption = None,
    trust_model: options.TrustOption = False,
    placement: options.Placement,
    as_json: options.JsonOption = False,
) -> None:
    """Say what a model, a data set or a run is, before sampling.

    \b
    With a model and a data set, also the clean accuracy on 100 inputs:
      certmix inspect cohen:checkpoint.pth.tar --dataset cifar10:data
      certmix inspect folder:imagenet,mode=rgb,resize=256,crop=224 --split val
      certmix inspect runs/half
    Data sets, and their options:
      digits, cifar10:ROOT, cifar100:ROOT[,labels=fine|coarse] (binary versions), mnist:ROOT[,num_classes=C] (IDX),
      npz:FILE[,num_classes=C][,grid_levels=G][,bounds=LOW/HIGH] (arrays inputs and labels),
      folder:DIR[,mode=rgb|grey][,resize=256][,crop=224][,interpolation=bilinear][,classes=FILE],
      torchvision:CLASS[,root=DIR], hf:NAME[,image=COLUMN][,label=COLUMN][,config=NAME] (local or cached), both with mode,
      resize, crop and interpolation as folder, py:FILE.py:factory[,bounds=LOW/HIGH]
    Models, and their options:
      FILE.safetensors or FILE.pt[,arch=NAME|pkg.module:factory|FILE.py:factory], cohen:FILE, hf:NAME[@REVISION], pt2:FILE,
      py:FILE.py:factory, torchvision:NAME,weights=DEFAULT|FILE|none[,num_classes=C][,image_size=][,width_mult=]
      [,init_weights=][,aux_logits=][,transform_input=], timm:NAME[,weights=FILE|pretrained|none][,num_classes=C]
      [,in_chans=][,img_size=][,patch_size=][,window_size=][,global_pool=]
    Of every model:
      mean=M/M/M,std=S/S/S or normalize=cifar10|cifar10-pixels|imagenet|half|none or bounds=LOW/HIGH: its inputs
      precision=fp32|bf16|fp16, fast=1 (batch norms folded, channels last): another base classifier by rounding
      denoiser=SPEC, or diffusion=SPEC,schedule=linear[:STEPS]|cosine[:STEPS]|FILE.npy,sigma=S[,step_scale=X]
      [,prediction=epsilon|sample|v]; with either upsample=SIDE, and denoiser.KEY= or diffusion.KEY= for its own options
    Other KEY=VALUE are arguments of the factory that arch=, py: or torchvision: names.
    Sources of both kinds (py, torchvision, hf) name a model here; name a data set with --dataset.
    """
    from certmix.inspection import check_on, describe_dataset, describe_model, describe_run

    if target is None and dataset is None:
        raise InvalidArgument("inspect needs a model, a data set or a run folder; see --help for the kinds there are.")
    found: dict[str, Any] = {}
    if target is not None and (Path(target) / "manifest.json").is_file():
        refuse_others(context, "inspect RUN", ("target", "as_json"))
        found["run"] = describe_run(certmix.read_statistics(target))
    elif target is not None and _names_data(target):
        if dataset is not None:
            raise InvalidArgument(f"inspect takes one data set, got {target} and --dataset {dataset}.")
        dataset, target = target, None
    elif target is not None and Path(target).is_dir():
        raise InvalidArgument(f"{target} is no run folder (it has no manifest.json); for images use folder:{target}.")
    data = None
    if dataset is not None:
        part: dict[str, Any] = {"split": split, "skip": skip, "max": max_inputs, "indices": indices}
        data = certmix.load_dataset(dataset, trust_model=trust_model, **part)
        found["dataset"] = describe_dataset(data) | ({"fingerprint": data.fingerprint} if read_all else {})
    if target is not None and "run" not in found:
        loaded = certmix.load_model(target, trust_model=trust_model, **options.key_values(model))
        found["model"] = {"spec": target, **describe_model(loaded)}
        if data is not None:
            found["check"] = check_on(placement.place(loaded), data, count, batch_size=placement.batch_size)
    Output(as_json=as_json).show(found, "\n".join(_lines(found)))


def _names_data(target: str) -> bool:
    from certmix.datasets import SOURCES

    source = target.partition(",")[0].partition(":")[0]
    return source in SOURCES and source not in _BOTH


def _lines(tree: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in tree.items():
        name = f"{indent}{key.replace('_', ' ')}:"
        if isinstance(value, dict):
            lines += [name, *_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)
            lines.append(f"{name} {text or 'none'}")
    return lines


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)
