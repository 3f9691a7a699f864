"""Models that are no function of one input, or no longer the one that a run was drawn with."""

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.errors import RunError, SamplingError
from certmix.sampling.probe import answers_agree


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(16, 3, generator=torch.Generator().manual_seed(0)))
        self.offset = 0.5

    def forward(self, inputs):
        return (inputs.flatten(1) - self.offset) @ self.weight


class BatchStatistics(Base):
    def forward(self, inputs):
        logits = super().forward(inputs)
        return (logits - logits.mean(0)) / (logits.std(0) + 1e-3)


class BatchMeanHead(Base):
    def forward(self, inputs):
        return super().forward(inputs) + 0.05 * inputs.mean(0).sum()


class RowSeededDropout(Base):
    def forward(self, inputs):
        mask = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(1)) < 0.9
        return super().forward(inputs * mask)


class OneSpecialPlace(Base):
    def forward(self, inputs):
        logits = super().forward(inputs)
        logits[len(inputs) // 2] += 1.0  # neither the first row nor the last
        return logits


@pytest.fixture(scope="module")
def dataset():
    values = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4)).astype(np.float32) / 255
    return ArrayDataset(values, np.arange(3), spec="probe", num_classes=3, grid_levels=255)


def _sample(dataset, model, batch=50, **options):
    execution = certmix.Execution(device="cpu", batch_size=batch, flush_seconds=0.0)
    return certmix.sample(
        model, dataset, sigma=0.5, num_selection=20, num_estimation=200, seed=1, execution=execution, **options
    )


@pytest.mark.parametrize("model", [BatchStatistics, BatchMeanHead, RowSeededDropout, OneSpecialPlace])
def test_a_model_that_looks_across_rows_or_at_the_place_of_a_row_is_refused(dataset, model):
    with pytest.raises(SamplingError, match="depends on the other rows of its batch or on its place"):
        _sample(dataset, model())


@pytest.mark.parametrize("batch", [1, 2, 50])
def test_an_honest_model_passes_at_any_batch_size_with_the_same_answers(dataset, batch):
    probe = _sample(dataset, Base(), batch).manifest.probe
    assert len(probe) == 4
    assert answers_agree(probe, _sample(dataset, Base(), 7).manifest.probe, 1e-5)


def test_a_run_does_not_resume_with_a_model_that_differs_in_a_plain_attribute_only(dataset, tmp_path):
    whole = _sample(dataset, Base(), out=tmp_path / "run")
    for shard in (tmp_path / "run" / "shards").iterdir():
        shard.unlink()
    other = Base()
    other.offset = 0.6  # not in its weights, nor in its repr
    with pytest.raises(RunError, match="drawn with a model that answers otherwise"):
        _sample(dataset, other, out=tmp_path / "run")
    assert np.array_equal(_sample(dataset, Base(), out=tmp_path / "run").estimation_counts, whole.estimation_counts)
