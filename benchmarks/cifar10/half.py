"""A trained model or mixture with its weights in half precision, for the repository: half the bytes, vectors in float32.

    python half.py TRAINED.safetensors OUT.safetensors

Loading makes float32 of it again; what is certified is the classifier of the written file. The data set is named by its
fingerprint, without the path that it had.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def main() -> None:
    source, target = sys.argv[1:]
    with safe_open(source, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        own = json.loads(file.metadata()["certmix"])
    own["history" if "history" in own else "training"]["dataset"] = "CIFAR-10, JPEG copy"
    Path(target).parent.mkdir(exist_ok=True)
    halved = {name: one.half() if one.dtype == torch.float32 and one.ndim > 1 else one for name, one in state.items()}
    save_file(halved, target, metadata={"certmix": json.dumps(own)})


if __name__ == "__main__":
    main()
