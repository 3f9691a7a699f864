"""Certified accuracy: what the lines say, and how runs, rules and certifiers are told apart."""

from dataclasses import replace

import numpy as np
import pytest

from certmix.curves import certified_accuracy
from certmix.errors import InvalidArgument
from certmix.plots.canvas import CERTIFIED, RADIUS, Look, draw
from certmix.plots.certified import certified_panels, plot_certified_accuracy
from certmix.promise import Promise
from certmix.rules import Chain
from tests.plots.made import assert_tidy, certificates


def _runs(certifiers=("exact", "theorem-a1"), weights=(0.7, 0.85, 1.0)):
    return [[certificates(sigma, weights=weights, certifier=name) for name in certifiers] for sigma in (0.25, 0.5, 1.0)]


def test_the_drawn_steps_are_certified_accuracy_and_its_interval():
    (made,) = ((certificates(weights=(0.8, 1.0)),),)
    ((panel,), _) = certified_panels([made])
    for position, curve in enumerate(panel.curves):
        at = np.asarray(curve.x)[1:]
        said = certified_accuracy(made[0], made[0].labels, at)
        np.testing.assert_allclose(np.asarray(curve.y)[1:], said.accuracy[position])
        np.testing.assert_allclose(np.asarray(curve.lower)[1:], said.lower[position])
        np.testing.assert_allclose(np.asarray(curve.upper)[1:], said.upper[position])


def test_colour_tells_the_rule_and_style_the_certifier_in_every_panel():
    panels, keys = certified_panels(_runs())
    assert [panel.title for panel in panels] == [f"sigma = {s}, 5 inputs" for s in ("0.25", "0.5", "1")]
    looks = [[(curve.colour, curve.dashes) for curve in panel.curves] for panel in panels]
    assert looks[0] == looks[1] == looks[2]
    assert len(set(looks[0])) == 6
    assert [key.name for key in keys] == ["weight 1", "weight 0.85", "weight 0.7", "Exact", "Theorem A.1"]
    explained = {key.name: (key.colour, key.dashes) for key in keys}
    for curve in panels[0].curves:
        _, certifier, rule = curve.name.split(", ")
        assert (curve.colour, curve.dashes) == (explained[rule][0], explained[certifier][1])


def test_an_overlay_holds_all_runs_in_one_axis():
    runs = _runs()
    (panel,), keys = certified_panels(runs, overlay=True)
    separate = [curve for other in certified_panels(runs)[0] for curve in other.curves]
    assert [curve.name for curve in panel.curves] == [curve.name for curve in separate]
    assert len({(curve.colour, curve.dashes) for curve in panel.curves}) == 18
    assert [key.name for key in keys[:3]] == ["sigma = 0.25", "sigma = 0.5", "sigma = 1"]


def test_a_chain_stands_beside_its_runs_with_one_entry_of_its_own():
    runs = [[certificates(sigma)] for sigma in (0.25, 0.5)]
    chain = replace(runs[0][0], rules=(Chain([0.25, 0.5], [0.8, 0.4]),), radius=np.full((1, 5), 0.3))
    (panel,), keys = certified_panels([*runs, [chain]], overlay=True)
    name = "chain (sigma 0.25: 0.8, sigma 0.5: 0.4)"
    assert panel.title == "5 inputs, Exact"
    assert [key.name for key in keys] == ["sigma = 0.25, weight 1", "sigma = 0.5, weight 1", name]
    assert [curve.name for curve in panel.curves][2] == f"{name}, Exact"
    assert [curve.colour for curve in panel.curves] == [key.colour for key in keys]
    assert len({key.colour for key in keys}) == 3
    assert np.asarray(panel.curves[2].x).max() == 0.3


def test_soft_votes_are_said():
    made = certificates(weights=(0.8, 1.0))
    soft = replace(made, promise=Promise(votes="soft"))
    ((panel,), keys) = certified_panels([[made, soft]])
    assert [key.name for key in keys[2:]] == ["Exact", "Exact, soft votes"]
    assert len({curve.name for curve in panel.curves}) == 4


@pytest.mark.parametrize("width", ["column", "text"])
@pytest.mark.parametrize("overlay", [False, True])
def test_layout(width, overlay):
    panels, keys = certified_panels(_runs(), overlay=overlay)
    assert_tidy(draw(panels, x=RADIUS, y=CERTIFIED, look=Look(width), keys=keys))


def test_certificates_without_labels_are_named(tmp_path):
    with pytest.raises(InvalidArgument, match="needs labels"):
        plot_certified_accuracy([[replace(certificates(), labels=None)]], tmp_path / "f")
