"""Small pictures of inputs: what the page is given, and that it shows them without asking for anything."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from certmix.errors import InvalidArgument
from certmix.report import Pictures, picture, render_page
from tests.report.made import report_of, write_run


def _decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_grey_input_comes_back_to_the_level():
    values = np.linspace(0.0, 1.0, 64).reshape(1, 8, 8)
    image = _decoded(picture(values))
    assert (image.format, image.size, image.mode) == ("PNG", (8, 8), "L")
    np.testing.assert_array_equal(np.asarray(image), np.rint(255 * values[0]))


def test_a_large_colour_input_is_small_and_keeps_its_shape():
    values = np.zeros((3, 100, 200))
    values[0] = 1.0
    uri = picture(values)
    image = _decoded(uri)
    assert (image.format, image.size) == ("JPEG", (48, 24))
    assert len(uri) < 2_000
    red, green, _ = np.asarray(image)[12, 24].tolist()
    assert red > 240 > 20 > green


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(InvalidArgument, match="must have shape"):
        picture(np.zeros(shape))


def test_the_policy_allows_pictures_from_the_page_alone_and_only_where_there_are_any(tmp_path):
    folder = write_run(tmp_path / "run", inputs=5)
    assert "img-src" not in render_page(report_of(folder))
    page = render_page(report_of(folder, pictures=Pictures("f" * 64, {2: picture(np.zeros((1, 8, 8)))})))
    assert "form-action &#39;none&#39;; img-src data:" in page


def test_pictures_are_of_the_runs_data_set_and_no_other(tmp_path):
    folder, uris = write_run(tmp_path / "run", inputs=5), {2: picture(np.zeros((1, 8, 8)))}
    for fingerprint, pictured in (("f" * 64, True), ("e" * 64, False)):
        (run,) = report_of(folder, pictures=Pictures(fingerprint, uris)).to_json()["runs"]
        assert run["pictured"] is pictured
