"""The sampler on small classifiers: same statistics for any batch size, honest refusals."""

import errno

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument, NoiseError, RunError, SamplingError
from certmix.runs.store import shard_rows


class Linear(torch.nn.Module):
    """Two classes separated by a hyperplane: h is known exactly."""

    def __init__(self, size: int = 16, classes: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(classes, size, generator=generator))

    def forward(self, inputs):
        return (inputs.flatten(1) - 0.5) @ self.weight.T


EXECUTION = ("device", "batch_size", "flush_seconds", "exact_batch")


@pytest.fixture(scope="module")
def dataset():
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 256, (6, 1, 4, 4)).astype(np.float32) / 255
    return ArrayDataset(inputs, generator.integers(0, 3, 6), spec="test", num_classes=3, grid_levels=255)


def _sample(dataset, model=None, **options):
    execution = {"device": "cpu"} | {key: options.pop(key) for key in EXECUTION if key in options}
    defaults = {"sigma": 0.5, "num_selection": 30, "num_estimation": 400, "seed": 5}
    how = certmix.Execution(**execution)
    return certmix.sample(model or Linear(classes=3), dataset, execution=how, **{**defaults, **options})


@pytest.mark.parametrize("noise", ["integer", "float"])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_statistics_do_not_depend_on_the_batch_size(dataset, noise, batch_size):
    reference = _sample(dataset, noise=noise, batch_size=100)
    other = _sample(dataset, noise=noise, batch_size=batch_size)
    assert np.array_equal(reference.selection_counts, other.selection_counts)
    assert np.array_equal(reference.estimation_counts, other.estimation_counts)
    assert (reference.estimation_counts.sum(1) == 400).all()
    assert (reference.selection_counts.sum(1) == 30).all()


def test_statistics_of_an_input_do_not_depend_on_the_others(dataset):
    whole = _sample(dataset)
    inputs = torch.stack([dataset[i][0] for i in (4, 1)])
    part = ArrayDataset(inputs, dataset.labels[[4, 1]], spec="part", num_classes=3, grid_levels=255, indices=[4, 1])
    alone = _sample(part)
    assert alone.indices.tolist() == [1, 4]
    assert np.array_equal(whole.estimation_counts[[1, 4]], alone.estimation_counts)


def test_votes_follow_the_known_probability(dataset):
    from scipy import special

    model = Linear(classes=3)
    statistics = _sample(dataset, num_estimation=20_000, noise="float")
    weight = model.weight.detach().double()
    # P[class 0 beats class 1] is known in closed form; compare with the votes of a two-class model.
    pair = Linear(classes=3)
    pair.weight = torch.nn.Parameter(torch.stack([weight[0], weight[1], weight[1] * 0 - 100]).float())
    two = ArrayDataset(
        torch.stack([dataset[i][0] for i in range(6)]), dataset.labels, spec="two", num_classes=3, grid_levels=255
    )

    class Binary(torch.nn.Module):
        def forward(self, inputs):
            logits = (inputs.flatten(1).double() - 0.5) @ weight[:2].T
            return torch.cat([logits, torch.full((len(inputs), 1), -1e9, dtype=torch.float64)], dim=1)

    counts = _sample(two, Binary(), num_estimation=20_000, noise="float").estimation_counts
    difference = weight[0] - weight[1]
    for i in range(6):
        score = float((dataset[i][0].flatten().double() - 0.5) @ difference)
        p = special.ndtr(score / (0.5 * float(difference.norm())))
        assert abs(counts[i, 0] - 20_000 * p) < 5 * np.sqrt(20_000 * p * (1 - p)) + 1
    assert len(statistics) == 6


def test_selection_and_estimation_draws_are_different(dataset):
    statistics = _sample(dataset, num_selection=400)
    assert not np.array_equal(statistics.selection_counts, statistics.estimation_counts)


def test_fresh_seeds_differ_and_are_recorded(dataset):
    one, two = _sample(dataset, seed=None), _sample(dataset, seed=None)
    assert one.draws.seed != two.draws.seed
    again = _sample(dataset, seed=one.draws.seed)
    assert np.array_equal(one.estimation_counts, again.estimation_counts)


def test_the_accurate_model_is_recorded_once_per_input(dataset):
    statistics = _sample(dataset, accurate=Linear(classes=3))
    with torch.no_grad():
        expected = torch.softmax(Linear(classes=3)(torch.stack([dataset[i][0] for i in range(6)])), dim=1)
    assert statistics.accurate_probabilities.shape == (6, 3)
    assert np.allclose(statistics.accurate_probabilities, expected.numpy(), atol=1e-6)


def test_dropout_is_switched_off_and_every_pass_has_one_shape(dataset):
    shapes = set()

    class Watched(Linear):
        def __init__(self):
            super().__init__(classes=3)
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, inputs):
            shapes.add(tuple(inputs.shape))
            return super().forward(self.dropout(inputs))

    model = Watched().train()
    first, second = (_sample(dataset, model, batch_size=1000) for _ in range(2))
    assert np.array_equal(first.estimation_counts, second.estimation_counts)
    assert not model.training
    _sample(dataset, model, batch_size=77)
    assert shapes == {(1000, 1, 4, 4), (77, 1, 4, 4)}  # 6 x 430 draws are packed; only the last pass is padded
    shapes.clear()
    _sample(dataset, model, num_estimation=1, num_selection=1, batch_size=1000)
    assert shapes == {(12, 1, 4, 4)}


class Broken(Linear):
    def __init__(self, at=None):
        super().__init__(classes=3)
        self.at = at

    def forward(self, inputs):
        logits = super().forward(inputs)
        logits[inputs.flatten(1)[:, 0] > 0.9] = float("nan")
        return logits


def test_a_run_that_was_stopped_holds_some_of_every_part_of_the_data(tmp_path):
    inputs = np.zeros((60, 1, 2, 2), dtype=np.float32)
    sorted_data = ArrayDataset(inputs, np.repeat([0, 1, 2], 20), spec="sorted", num_classes=3, grid_levels=255)

    def stop(done, total):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _sample(sorted_data, Linear(4, 3), out=tmp_path / "run", batch_size=430, progress=stop)
    held = certmix.read_statistics(tmp_path / "run")
    assert len(held) < 12
    assert np.bincount(held.labels, minlength=3).min() >= 2  # not the first class alone


def test_a_non_finite_output_stops_the_run_and_names_the_input(dataset, tmp_path):
    with pytest.raises(SamplingError, match=r"must be finite, got NaN or infinity in \d+ of 430 draws at input 0"):
        _sample(dataset, Broken(), out=tmp_path / "run")
    counted = _sample(dataset, Broken(), on_invalid="count")
    assert (counted.estimation_invalid > 0).all()
    assert (counted.estimation_counts.sum(1) + counted.estimation_invalid == 400).all()


def test_a_model_that_is_not_one_function_is_refused(dataset):
    class Random(Linear):
        def forward(self, inputs):
            return super().forward(inputs) + torch.rand(len(inputs), 1)

    with pytest.raises(SamplingError, match="one fixed function"):
        _sample(dataset, Random(classes=3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Linear(classes=4), r"must have shape \(batch, classes\)"),
        (Linear(size=20, classes=3), "must take inputs of shape"),
        (torch.nn.Flatten(0), "must have shape"),
    ],
)
def test_a_model_of_the_wrong_shape_is_refused(dataset, model, message):
    with pytest.raises(SamplingError, match=message) as caught:
        _sample(dataset, model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "sigma must be > 0"),
        ({"sigma": float("nan")}, "sigma must be > 0"),
        ({"num_selection": 0}, "num_selection must be >= 1"),
        ({"num_estimation": -1}, "num_estimation must be >= 1"),
        ({"batch_size": 0}, "batch_size must be in"),
        ({"seed": 2**128}, "seed must be in"),
        ({"on_invalid": "ignore"}, "on_invalid must be error or count"),
        ({"noise": "uniform"}, "noise must be auto, integer, float or splitting"),
        ({"device": "gpu"}, "device must be auto, cpu"),
    ],
)
def test_bad_arguments_are_named(dataset, options, message):
    with pytest.raises(InvalidArgument, match=message):
        _sample(dataset, **options)


def test_a_run_that_is_done_is_one_shard_however_often_it_was_stored(dataset, tmp_path):
    often = _sample(dataset, out=tmp_path / "run", flush_seconds=0.0)
    (shard,) = (tmp_path / "run" / "shards").iterdir()
    assert shard_rows(shard) == len(dataset)
    assert np.array_equal(often.estimation_counts, _sample(dataset).estimation_counts)


def test_a_run_from_other_settings_is_refused_with_both_values(dataset, tmp_path):
    _sample(dataset, out=tmp_path / "run")
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "run" / "shards").iterdir())
    for options, message in [
        ({"sigma": 0.25}, r"disagrees on sigma: the run has 0\.5, asked for is 0\.25"),
        ({"seed": 6}, r"disagrees on seed: the run has '0x5', asked for is '0x6'"),
        ({"num_estimation": 500}, r"disagrees on num_estimation: the run has 400, asked for is 500"),
        ({"accurate": Linear(classes=3)}, "disagrees on accurate"),
        ({"noise": "float"}, "disagrees on noise"),
    ]:
        with pytest.raises(RunError, match=message):
            _sample(dataset, out=tmp_path / "run", **options)
    assert before == sorted((path.name, path.read_bytes()) for path in (tmp_path / "run" / "shards").iterdir())


def test_progress_is_told_input_by_input_also_when_resumed(dataset, tmp_path):
    told = []
    part = certmix.datasets.Subset(dataset, [0, 1])
    _sample(dataset, out=tmp_path / "run", progress=lambda *now: told.append(now))
    assert told == [(done, 6) for done in range(7)]
    told.clear()
    _sample(part, progress=lambda *now: told.append(now))
    assert told == [(0, 2), (1, 2), (2, 2)]
    told.clear()
    _sample(dataset, out=tmp_path / "run", progress=lambda *now: told.append(now))
    assert told == [(6, 6)]


def test_a_finished_run_is_not_drawn_again(dataset, tmp_path):
    first = _sample(dataset, out=tmp_path / "run", seed=None)

    watched, calls = Linear(classes=3), []
    watched.register_forward_hook(lambda *_: calls.append(1))
    second = _sample(dataset, watched, out=tmp_path / "run", seed=None)
    assert not calls
    assert np.array_equal(first.estimation_counts, second.estimation_counts)
    assert certmix.read_statistics(tmp_path / "run").manifest.audits


def _scaled_integers(good):
    """Standard deviation half a percent too large: variance off by 1 %."""
    return lambda *address: (good(*address).double() * 1.005).round().to(torch.int16)


def _uniform_integers(good):
    def integers(noise, index, purpose, start, draws):
        spread = round(noise.sigma * noise.levels * 3**0.5)
        generator = torch.Generator().manual_seed(hash((index, purpose, start)) % 2**31)
        return torch.randint(-spread, spread + 1, (draws, noise.size), generator=generator, dtype=torch.int16)

    return integers


def _one_block_again(good):
    return lambda noise, index, purpose, start, draws: good(noise, 0, "estimation", 0, draws)


@pytest.mark.parametrize(
    ("bias", "check"),
    [(_scaled_integers, "chi-squared"), (_uniform_integers, "chi-squared"), (_one_block_again, "repeated noise")],
)
def test_biased_integer_noise_stops_the_run_and_is_not_kept(dataset, tmp_path, monkeypatch, bias, check):
    from certmix.noise import integer

    monkeypatch.setattr(integer.IntegerNoise, "integers", bias(integer.IntegerNoise.integers))
    with pytest.raises(NoiseError, match=f"noise audit failed: ({check}) of the noise"):
        _sample(dataset, num_estimation=20_000, batch_size=300, out=tmp_path / "run")
    monkeypatch.undo()
    assert len(certmix.read_statistics(tmp_path / "run")) == 0


@pytest.mark.parametrize(
    ("bias", "check"),
    [
        (lambda part: part.mul_(1.01**0.5), "variance"),
        (lambda part: part.copy_(torch.special.ndtr(part).sub_(0.5).mul_(12**0.5)), "kurtosis"),
        (lambda part: part.copy_(part[:1].expand_as(part)), "lag-1 correlation|variance|mean|kurtosis"),
    ],
)
def test_biased_float_noise_stops_the_run(dataset, monkeypatch, bias, check):
    from certmix.noise import gaussian

    good = gaussian.GaussianNoise._standard_normal

    def biased(noise, out, words):
        good(noise, out, words)
        bias(out)

    monkeypatch.setattr(gaussian.GaussianNoise, "_standard_normal", biased)
    with pytest.raises(NoiseError, match=f"noise audit failed: ({check}) of the noise"):
        _sample(dataset, num_estimation=60_000, noise="float", batch_size=2000)


def test_a_full_disk_is_one_line_and_keeps_what_was_stored(dataset, tmp_path, monkeypatch):
    from certmix import files

    synced, whole = files.os.fsync, _sample(dataset)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:  # two syncs per file: the manifest, and shards of one input each
            raise OSError(errno.ENOSPC, "No space left on device")
        return synced(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device.*stored draws are kept, free space"):
        _sample(dataset, out=tmp_path / "run", flush_seconds=0.0)
    monkeypatch.undo()
    kept = certmix.read_statistics(tmp_path / "run")
    assert 0 < len(kept) < len(dataset)
    assert not list((tmp_path / "run" / "shards").glob(".writing-*"))
    assert np.array_equal(_sample(dataset, out=tmp_path / "run").estimation_counts, whole.estimation_counts)
