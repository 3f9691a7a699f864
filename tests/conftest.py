"""One torch thread, seeded property tests, and the public logs where they are present."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
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
