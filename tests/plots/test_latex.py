"""A paper that includes a table and figures as they leave the package: it compiles, with no Type 3 font."""

import shutil
import subprocess

import pytest

from certmix.plots.canvas import Look
from certmix.plots.certified import plot_certified_accuracy
from certmix.plots.frontier import plot_frontiers
from certmix.tables import latex_float, render_table
from tests.plots.made import certificates, crossing_sweep

PAPER = r"""\documentclass{article}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
%s
\begin{figure}\includegraphics{overlay.pdf}\caption{All runs.}\end{figure}
\begin{figure}\includegraphics[width=\textwidth]{frontier.pdf}\caption{The frontier.}\end{figure}
\end{document}
"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("pdflatex") and shutil.which("pdffonts")), reason="needs pdflatex and pdffonts")
def test_a_paper_with_a_table_and_figures_compiles(tmp_path):
    headers = ["sigma", "certifier", "r = 0.25", "clean >= 90.5"]
    rows = [
        ["0.5", "exact, soft votes", "55.6 [49.8, 61.4]", "3.1"],
        ["1", "hostile: x_1^2 \\ & # ~ {<|>} %", "", "9.0"],
    ]
    table = latex_float(
        render_table(headers, rows, "latex"), "300 inputs of folder:my_data & more, in %, error < 0.001."
    )
    runs = [[certificates(sigma, weights=(0.8, 1.0))] for sigma in (0.25, 0.5)]
    plot_certified_accuracy(runs, tmp_path / "overlay", overlay=True, look=Look("column"))
    plot_frontiers([crossing_sweep(name) for name in ("theorem-a1", "exact")], tmp_path / "frontier")
    (tmp_path / "paper.tex").write_text(PAPER % table)
    latex = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert latex.returncode == 0, latex.stdout.decode(errors="replace")[-1000:]
    fonts = subprocess.run(["pdffonts", tmp_path / "paper.pdf"], capture_output=True, text=True, check=True).stdout
    assert "Type 3" not in fonts
    lines = [line for line in fonts.splitlines() if "DejaVu" in line]
    assert lines
    assert all("CID TrueType" in line and " yes yes yes " in line for line in lines)
