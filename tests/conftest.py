"""One torch thread, seeded property tests, and the public logs where they are present."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import settings

from tests import pretend_device

torch.set_num_threads(1)
pretend_device.device()  # before the first gradient, which fixes what devices there are
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton: the noise kernels run on the CPU
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="certmix-tests-")  # calibrations are not the user's
settings.register_profile("certmix", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("certmix")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of published certification logs, beside the checkout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("CERTMIX_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("published certification logs are absent")
    return folder


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision; tests that need it skip where it is absent.

    Its Python parts import beside a torch that its binary was not built for, once two operators have a schema.
    """
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is absent")
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    _KEPT.append(library)
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")


_KEPT: list[torch.library.Library] = []  # schemas live as long as their library
