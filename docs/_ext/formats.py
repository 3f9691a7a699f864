"""Columns of certmix's files, from the schemas in the code, each with what it holds.

A column without a line here, or a line without its column, ends the build: the reference cannot fall behind.
"""

from collections.abc import Mapping

from certmix.formats import certificates, certification_log
from certmix.runs import records

SHARD = {
    "index": "position of the input in its split: stable, whatever part of the data was taken",
    "label": "true class",
    "selection_counts": "votes per class of the selection draws, which choose the class (one number per class)",
    "estimation_counts": "votes per class of the estimation draws, which bound its probability",
    "selection_invalid": "selection draws whose output was not finite: votes against every class",
    "estimation_invalid": "likewise of the estimation draws",
    "accurate_probabilities": "class probabilities of g at the clean input; empty without an accurate model",
    "seconds": "time spent on the input",
}
SOFT = {
    "soft_prediction": "class with the largest mean probability over the selection draws",
    "soft_rivals": "the rival classes of which histograms are kept",
    "soft_histograms": "for both stages, and for the class and its rivals: 64 bins of counts and integer sums, packed",
}
DEFERRED = {"estimation_deferred": "estimation draws below the declared confidence, which voted for no class"}
PARTIAL = {
    "index": "the input",
    "draws": "estimation draws counted so far",
    "seconds": "spent on it so far",
    "counts": "votes so far of both stages, invalid ones last",
}
CERTIFICATES = {
    "index": "of the input, as in the shards",
    "label": "true class",
    "prediction": "class of h that the selection draws chose; -1 where none was",
    "certifier": "name of the theorem: `exact`, `theorem-a1`, `theorem-3.5`, `theorem-3.5-paper` or `cdf`",
    "rule": "kind of the rule: `linear` (Eq. 5), `threshold`, ...",
    "parameter": "the mixing weight a, or the threshold c",
    "radius": "certified l2 radius in pixel units, rounded down; 0 = nothing is certified",
}
LOG = {
    "idx": "position of the input",
    "label": "true class",
    "predict": "certified class; -1 = abstention",
    "radius": "certified l2 radius, rounded down to six decimals",
    "correct": "1 where predict is the label",
    "time": "seconds spent on the input",
}


def tables() -> dict[str, str]:
    """File name -> markdown table."""
    return {
        "shard": _table(records._TYPES, SHARD),
        "soft": _table(records._SOFT_TYPES, SOFT),
        "deferred": _table({records._DEFERRED: "int64"}, DEFERRED),
        "partial": _table(records._PARTIAL_TYPES, PARTIAL),
        "certificates": _table({field.name: field.type for field in certificates._SCHEMA}, CERTIFICATES),
        "log": _table(dict.fromkeys(certification_log.COLUMNS, "text"), LOG),
    }


def _table(types: Mapping[str, object], says: Mapping[str, str]) -> str:
    if list(types) != list(says):
        raise ValueError(f"docs/_ext/formats.py must describe the columns {list(types)}, and describes {list(says)}.")
    rows = [
        f"| `{name}` | {str(kind).replace('<element: ', ' of ').replace('>', '')} | {says[name]} |"
        for name, kind in types.items()
    ]
    return "\n".join(["| column | type | holds |", "|---|---|---|", *rows]) + "\n"
