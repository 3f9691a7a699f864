"""Denoised smoothing: what an ideal denoiser gives is exact, and it certifies more than the same classifier without."""

import numpy as np
import pytest
import torch

import certmix
from certmix.errors import InvalidArgument
from certmix.models import fingerprint, load_model
from certmix.models.denoised import DenoisedClassifier, DiffusionDenoiser, check_denoiser_sigma
from certmix.models.noise_schedule import NoiseSchedule, cosine_schedule, linear_schedule, parse_schedule
from tests.models.ideal import FragileClassifier, IdealDenoiser, IdealNetwork, make_data, posterior_mean, prototypes

SIGMA = 0.5
RADII = [0.25, 0.5, 0.75]


def _certified(model, data):
    statistics = certmix.sample(model, data, sigma=SIGMA, num_selection=20, num_estimation=400, seed=7)
    return certmix.certified_accuracy(certmix.certify(statistics), statistics.labels, RADII).accuracy[0]


@pytest.fixture(scope="module")
def data():
    return make_data(prototypes(), 24)


@pytest.fixture(scope="module")
def without(data):
    return _certified(FragileClassifier(prototypes()), data)


def test_the_classifier_alone_is_accurate_and_fragile(data, without):
    model = FragileClassifier(prototypes())
    assert all(int(model(image[None]).argmax()) == label for image, label in (data[i] for i in range(len(data))))
    assert without[0] < 0.5


def test_an_ideal_denoiser_raises_certified_accuracy_at_every_radius(data, without):
    means = prototypes()
    denoised = _certified(DenoisedClassifier(IdealDenoiser(means, SIGMA), FragileClassifier(means)), data)
    assert (denoised > without).all()
    assert denoised[0] > 0.9


@pytest.mark.parametrize("schedule", [linear_schedule(1000), cosine_schedule(4000)], ids=["linear", "cosine"])
def test_one_step_of_an_ideal_diffusion_model_does_as_well(data, without, schedule):
    means = prototypes()
    denoiser = DiffusionDenoiser(IdealNetwork(means, schedule.alpha_bar), schedule, SIGMA)
    denoised = _certified(DenoisedClassifier(denoiser, FragileClassifier(means)), data)
    assert (denoised > without).all()
    assert denoised[0] > 0.9


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v"])
@pytest.mark.parametrize("extra", [0, 1])
def test_one_step_is_the_posterior_mean_at_the_noise_of_the_draws(prediction, extra):
    torch.manual_seed(0)
    schedule, means = linear_schedule(200), prototypes()
    for step in (3, 60, 150):
        sigma = float(schedule.sigmas[step])
        network = IdealNetwork(means.double(), schedule.alpha_bar, prediction, extra).double()
        denoiser = DiffusionDenoiser(network, schedule, sigma, prediction=prediction)
        assert (denoiser.step, denoiser.step_sigma) == (step, sigma)
        noisy = means.double() + sigma * torch.randn(4, 1, 8, 8, dtype=torch.float64)
        assert torch.allclose(denoiser(noisy), posterior_mean(noisy, means.double(), sigma), atol=1e-9)


def test_steps_are_scaled_for_networks_that_want_it():
    seen = []

    class Network(torch.nn.Module):
        def forward(self, scaled, steps):
            seen.append(steps)
            return torch.zeros_like(scaled)

    schedule, x = cosine_schedule(4000), torch.rand(2, 1, 4, 4)
    for scale in (1.0, 0.25):
        assert torch.allclose(DiffusionDenoiser(Network(), schedule, 0.5, step_scale=scale)(x), x, atol=1e-6)
    assert seen[0].dtype == torch.int64
    assert torch.equal(seen[0] * 0.25, seen[1])


def test_a_step_is_the_first_that_is_noisy_enough():
    schedule = cosine_schedule(4000)
    for sigma in (0.05, 0.25, 0.5, 1.0):
        step, reached = 0, 0.0  # the search of Carlini et al.'s published code
        while reached < 2 * sigma:
            step += 1
            reached = np.sqrt(1 - schedule.alpha_bar[step]) / np.sqrt(schedule.alpha_bar[step])
        assert schedule.step_of(sigma) == step
    assert linear_schedule(1000).alpha_bar[[0, 999]] == pytest.approx([0.9999, 4.0358e-5], rel=1e-4)
    assert cosine_schedule(1000).alpha_bar[500] == pytest.approx(
        np.cos((501 / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    )


def test_a_fingerprint_tells_sigmas_and_wrappers_apart():
    schedule, means = linear_schedule(100), prototypes()
    network = IdealNetwork(means, schedule.alpha_bar)
    models = [
        DenoisedClassifier(DiffusionDenoiser(network, schedule, sigma), FragileClassifier(means), upsample=side)
        for sigma, side in ((0.25, None), (0.5, None), (0.5, 16))
    ]
    assert len({fingerprint(model) for model in models}) == 3
    check_denoiser_sigma(models[0], 0.25)
    with pytest.raises(InvalidArgument, match="must be that of the draws, got 0.25 and 0.5"):
        check_denoiser_sigma(models[0], 0.5)


def test_images_are_clipped_and_upsampled_before_the_classifier():
    class Sizes(torch.nn.Module):
        def forward(self, images):
            return torch.stack(
                [images.amin((1, 2, 3)), images.amax((1, 2, 3)), 0 * images.amax((1, 2, 3)) + images.shape[2]], 1
            )

    outputs = DenoisedClassifier(torch.nn.Identity(), Sizes(), upsample=12)(torch.linspace(-2, 3, 36).view(1, 1, 6, 6))
    assert outputs.tolist() == [[0.0, 1.0, 12.0]]


OWN = """
import torch
from tests.models.ideal import IdealDenoiser, IdealNetwork, FragileClassifier, prototypes
from certmix.models.noise_schedule import parse_schedule

def classifier():
    return FragileClassifier(prototypes())

def denoiser(seed=0):
    return IdealDenoiser(prototypes(seed=seed), 0.5)

def network(steps=100):
    return IdealNetwork(prototypes(), parse_schedule(f"linear:{steps}").alpha_bar)

class Wrong(torch.nn.Module):
    def forward(self, inputs, *steps):
        return inputs[:, :, :-1]
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return f"py:{tmp_path / 'own.py'}:"


def test_specs_put_a_denoiser_before_any_classifier(own, tmp_path):
    x = torch.rand(3, 1, 8, 8)
    means = prototypes()
    model = load_model(f"{own}classifier,denoiser={own}denoiser,denoiser.seed=0", trust_model=True)
    assert torch.equal(model(x), FragileClassifier(means)(posterior_mean(x, means, 0.5).clamp(0, 1)))
    other = load_model(f"{own}classifier", trust_model=True, denoiser=f"{own}denoiser,seed=5")
    assert torch.equal(other.denoiser(x), posterior_mean(x, prototypes(seed=5), 0.5))
    torch.save(IdealDenoiser(prototypes(seed=3), 0.5).state_dict(), tmp_path / "denoiser.pt")
    weights = f"denoiser={tmp_path / 'denoiser.pt'},denoiser.arch={own.removeprefix('py:')}denoiser"
    loaded = load_model(f"{own}classifier,{weights}", trust_model=True)
    assert torch.equal(loaded.denoiser(x), posterior_mean(x, prototypes(seed=3), 0.5))
    spec = f"{own}classifier,diffusion={own}network,schedule=linear:100,sigma=0.5,upsample=8"
    diffused = load_model(spec, trust_model=True)
    assert (diffused.denoiser.sigma, diffused.upsample, diffused.training) == (0.5, 8, False)
    assert "step_sigma" in repr(diffused)
    np.save(tmp_path / "alpha_bar.npy", linear_schedule(100).alpha_bar)
    again = load_model(spec.replace("linear:100", str(tmp_path / "alpha_bar.npy")), trust_model=True)
    assert torch.equal(diffused(x), again(x))
    with pytest.raises(InvalidArgument, match="runs code when loaded; add --trust-model"):
        load_model(spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("denoiser={own}denoiser,diffusion={own}network", "give denoiser or diffusion, not both"),
        ("diffusion={own}network,sigma=0.5", "diffusion needs schedule and sigma .*, got no schedule"),
        ("diffusion={own}network,schedule=linear", "got no sigma"),
        ("diffusion={own}network,schedule=linear,sigma=x", "sigma must be a number, got 'x'"),
        ("diffusion={own}network,schedule=linear,sigma=0", "sigma must be > 0"),
        ("diffusion={own}network,schedule=linear:100,sigma=900", "sigma must be at most"),
        (
            "diffusion={own}network,schedule=quadratic,sigma=1",
            "schedule must be linear, cosine, or an existing .npy file",
        ),
        ("diffusion={own}network,schedule=linear:x,sigma=1", "numbers of a schedule must follow colons"),
        ("diffusion={own}network,schedule=linear:0,sigma=1", "must have 1 to 1,000,000 steps"),
        ("diffusion={own}network,schedule=linear:10:1:2:3,sigma=1", "linear:STEPS:FIRST:LAST"),
        ("diffusion={own}network,schedule=linear:10:1:2,sigma=1", r"beta of each step must be in \(0, 1\)"),
        ("diffusion={own}network,schedule=linear,sigma=1,prediction=x", "prediction must be one of epsilon, sample, v"),
        ("diffusion={own}network,schedule=linear,sigma=1,step_scale=-1", "step_scale must be > 0"),
        ("denoiser={own}denoiser,upsample=0", "upsample must be a whole number of 1 to"),
        ("denoiser={own}denoiser,denoiser.width=3", "must be what its factory takes"),
        ("denoiser=diffuser:x", "model spec must start with one of"),
    ],
)
def test_denoisers_that_make_no_sense_are_named(own, options, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        load_model(f"{own}classifier,{options.format(own=own)}", trust_model=True)
    assert "\n" not in str(caught.value)


def test_a_denoiser_must_return_images_of_its_inputs_shape(own):
    for options in ("denoiser={own}Wrong", "diffusion={own}Wrong,schedule=linear,sigma=1"):
        model = load_model(f"{own}classifier,{options.format(own=own)}", trust_model=True)
        with pytest.raises(InvalidArgument, match=r"must return .*\(2, 1, 8, 8\).*, got \(2, 1, 7, 8\)"):
            model(torch.zeros(2, 1, 8, 8))


def test_schedules_that_are_none_are_named(tmp_path):
    for values in ([], [0.5, 0.6], [1.0, 0.5], [[0.5]], [0.5, 0.0]):
        with pytest.raises(InvalidArgument, match="alpha_bar must fall from step to step"):
            NoiseSchedule(values)
    (tmp_path / "a.npy").write_text("no array")
    with pytest.raises(InvalidArgument, match=r"a\.npy must be a \.npy file of alpha_bar"):
        parse_schedule(str(tmp_path / "a.npy"))
