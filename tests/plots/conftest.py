"""Figures as they were drawn, before they became files."""

import pytest

from certmix.plots import canvas


@pytest.fixture
def drawn(monkeypatch):
    """A list that collects every figure that is drawn."""
    figures, draw = [], canvas.draw

    def keep(*args, **how):
        figures.append(draw(*args, **how))
        return figures[-1]

    monkeypatch.setattr(canvas, "draw", keep)
    return figures
