"""The paper of the documentation, from tables and figures as the commands leave them: it compiles, and nothing sticks out."""

import re
import shutil
import subprocess

import pytest

from certmix.tables import render_table
from tests.docs.blocks import ROOT, run_page

PAGE = ROOT / "docs" / "how_to" / "paper.md"
HOSTILE = [["exact, soft votes", "55.6 [49.8, 61.4]"], ["hostile: x_1^2 \\ & # ~ {<|>} % sigma 2 >= p_A", ""]]
CAPTION = (
    f"300 inputs of folder:my_data & more, in runs/sigma-0.5 and {'long/' * 30}path, error < 0.001 at l2 radius r."
)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex (apt: texlive-latex-recommended)")
@pytest.mark.skipif(not shutil.which("pdffonts"), reason="needs pdffonts (apt: poppler-utils)")
def test_the_paper_compiles_and_its_fonts_are_truetype(tmp_path):
    run_page(PAGE, None, tmp_path)
    (tex,) = re.findall(r"```latex\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "hostile.tex").write_text(render_table(["certifier", "r = 0.25, in %"], HOSTILE, "latex", CAPTION))
    (tmp_path / "paper.tex").write_text(tex.replace(r"\end{document}", "\\input{hostile}\n\\end{document}"))
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    latex = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    said = latex.stdout.decode(errors="replace")
    assert latex.returncode == 0, said[-1000:]
    assert "Overfull" not in said
    fonts = subprocess.run(["pdffonts", tmp_path / "paper.pdf"], capture_output=True, text=True, check=True).stdout
    assert "Type 3" not in fonts
    lines = [line for line in fonts.splitlines() if "DejaVu" in line]
    assert lines
    assert all("CID TrueType" in line and " yes yes yes " in line for line in lines)
