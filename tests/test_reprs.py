"""What users print is one line without arrays, and no call can swap two models in silence."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import certmix
from certmix.pareto import candidate_from_statistics
from certmix.runs.draws import Draws
from certmix.tables import shapes_repr

PACKAGE = Path(certmix.__file__).parent


@pytest.fixture(scope="module")
def drawn():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    data = certmix.load_dataset("digits", max=30)
    return certmix.sample(net, data, accurate=net, sigma=0.25, num_estimation=100, seed=0)


def test_results_are_printed_in_one_line_without_arrays(drawn):
    certificates = certmix.certify(drawn, mixing_weight=[0.6, 0.7, 0.8, 0.9, 1.0])
    candidate = candidate_from_statistics(drawn)
    sweep = certmix.pareto_frontier([candidate], target=0.0)
    curve = certmix.certified_accuracy(certificates, drawn.labels, [0.0, 0.25])
    shown = {type(made).__name__: repr(made) for made in (drawn, drawn.draws, certificates, candidate, candidate.bounds,
                                                          sweep, sweep.matched[0], curve)}  # fmt: skip
    for name, text in shown.items():
        assert text.startswith(f"{name}(")
        assert "\n" not in text
        assert "array" not in text
        assert len(text) < 300
    assert shown["Certificates"] == (
        "Certificates(30 inputs, weight 0.6, weight 0.7, weight 0.8 and 2 more, exact, sigma 0.25, failure probability 0.001)"
    )
    assert "30 inputs of digits (" in shown[Draws.__name__]
    assert "30 inputs" in shown["ParetoResult"]
    assert "top_lower=30 values" in shown["ProbabilityBounds"]


def test_every_dataclass_with_arrays_has_a_repr_of_its_own():
    hidden = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.decorator_list:
                arrays = [f for f in node.body if isinstance(f, ast.AnnAssign)
                          and ast.unparse(f.annotation).startswith(("NDArray", "Floats", "Integers", "Rows"))]  # fmt: skip
                own = [f for f in node.body if "__repr__" in ast.unparse(f)]
                if arrays and not own and "repr=False" not in ast.unparse(node.decorator_list[0]):
                    hidden.append(f"{path.stem}.{node.name}")
    assert sorted(hidden) == sorted(INTERNAL)


# Rows on their way from one function to the next, which nobody is handed.
INTERNAL = [
    "bracket.Bracket",
    "judge.Stakes",
    "judge.Verdict",
    "predictor.Drawn",
    "records.InputRecord",
    "records.PartialRecord",
    "votes.ClassVotes",
]


def test_two_models_in_one_call_are_keywords():
    """A public function or method may take one model by position, never two: swapped they would give wrong numbers."""
    swappable = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
                positional = [*node.args.posonlyargs, *node.args.args]
                models = [a.arg for a in positional if a.annotation and "Module" in ast.unparse(a.annotation)]
                if len(models) > 1:
                    swappable.append(f"{path.stem}.{node.name}({', '.join(models)})")
    # The order in which an input passes them, and what is attacked before what judges; no g and h among them.
    assert swappable == ["mixture.attack(model, judge)", "denoised.__init__(denoiser, classifier)"]


def test_shapes_stand_for_arrays():
    class Made:
        def __init__(self):
            self.a, self.b, self.c, self.d = np.zeros((3, 2)), None, [1, 2], 0.5

    assert shapes_repr(Made()) == "Made(a=3x2 values, c=2 entries, d=0.5)"
