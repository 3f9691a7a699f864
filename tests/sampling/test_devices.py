import shutil

import pytest
import torch
from torch import nn

from certmix.sampling.devices import compile_model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own imports
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_is_the_same_function_up_to_rounding():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    inputs = torch.rand(5, 3, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(compile_model(model, torch.device("cpu"))(inputs), model(inputs), atol=1e-5)
