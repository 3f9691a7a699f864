"""certificates.parquet and what lies beside it: what a folder says its votes certify, written as one set, and its reader."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from certmix.certification.certify import Certificates
from certmix.certifiers import CERTIFIERS
from certmix.errors import InvalidArgument, RunError
from certmix.files import MOST_BYTES, read_whole, write_whole
from certmix.formats.certification_log import log_text
from certmix.json_fields import Fields
from certmix.parquet import pack_table, unpack_table
from certmix.promise import NORMS, Promise
from certmix.rules import Chain, Form, form_from_json

FILE, LOGS = "certificates.parquet", "certificates*.tsv"
SUMMARIES = ("result.json", "model_card.md")  # of the same certificates; the set holds them or not
_MOST_ROWS = 10**7
_SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("label", pa.int64()),
        ("prediction", pa.int64()),
        ("certifier", pa.string()),
        ("rule", pa.string()),
        ("parameter", pa.float64()),
        ("radius", pa.float64()),
    ]
)


def write_certificates(
    folder: str | Path,
    certificates: Sequence[Certificates],
    *,
    seconds: NDArray[np.float64] | None = None,
    summaries: Mapping[str, str] | None = None,
    force: bool = False,
) -> list[str]:
    """Write certificates.parquet and a log in Cohen's format per certifier and rule, in place of the set before.

    Numbers in the Parquet are the float64 values themselves; those in the logs are rounded down.

    Args:
        folder: a run folder, whose certificates are derived and replaced; another folder must hold none unless `force`.
        certificates: over the same inputs, with labels, indices and a promise.
        seconds: sampling time per input, for the logs.
        summaries: file name, of `SUMMARIES`, -> content.
        force: replace certificates in a folder that is no run.
    Returns: the paths written, the Parquet first.
    Raises: InvalidArgument: see above. FileError: a folder that cannot be written.
    """
    folder = Path(folder)
    for made in certificates:
        if made.norm != CERTIFIERS[made.certifier].norm:
            raise InvalidArgument(f"certificates to write must be in the noise's own norm, got {made.norm} radii.")
        if made.promise is None or made.labels is None or made.indices is None:
            raise InvalidArgument("certificates to write need labels, indices and a promise; certify votes, not a log.")
    others = [*sorted(folder.glob(LOGS)), *(folder / name for name in SUMMARIES)]
    stale = [path for path in others if path.is_file() or path.is_symlink()]
    present = [path for path in (folder / FILE, *stale) if path.exists() or path.is_symlink()]
    if present and not force and not (folder / "manifest.json").exists():
        raise InvalidArgument(f"{present[0]} must not exist, but does; choose another folder or add --force.")
    texts = {folder / name: text for name, text in {**log_texts(certificates, seconds), **(summaries or {})}.items()}
    write_whole(folder / FILE, _parquet(certificates), force=True)
    for path in stale:
        path.unlink()
    for path, text in texts.items():
        write_whole(path, text, force=True)
    return [str(folder / FILE), *map(str, texts)]


def log_texts(certificates: Sequence[Certificates], seconds: NDArray[np.float64] | None = None) -> dict[str, str]:
    """File name -> content of the log of every certifier and rule; arguments as `write_certificates`."""
    several = sum(len(made.rules) for made in certificates) > 1
    return {
        f"{_stem(made.certifier, rule) if several else 'certificates'}.tsv": log_text(made, position, seconds)
        for made in certificates
        for position, rule in enumerate(made.rules)
    }


def read_certificates(folder: str | Path) -> list[Certificates]:
    """The certificates that `write_certificates` stored, one for each certifier, in their order.

    They are a claim: whether they follow from a run's votes, `certmix verify` says.

    Raises: RunError: no such file, or one that breaks its format.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise RunError(f"{path} must exist; run certmix certify on that folder first.")
    content = read_whole(path, "certificates", MOST_BYTES)
    try:
        table = unpack_table(content, most_rows=_MOST_ROWS, most_values=_MOST_ROWS * len(_SCHEMA))
        if table.schema.remove_metadata() != _SCHEMA:
            raise ValueError("other columns")
        tree = json.loads((table.schema.metadata or {})[b"certmix"])
    except (KeyError, ValueError) as error:
        raise RunError(
            f"{path} must be one that certmix wrote, got something else ({str(error).splitlines()[0][:80]}); certify again."
        ) from None
    about = Fields(tree, str(path))
    sigma = about.number("sigma", 1e-150, 1e150)
    entries = [Fields(entry, str(path)) for entry in about.objects("certificates")]
    about.end()
    heads = [_read_head(entry) for entry in entries]
    rules = sum(len(head[1]) for head in heads)
    if not rules or not all(head[1] for head in heads) or table.num_rows % rules:
        raise RunError(f"{path} must hold as many rows for every rule, got {table.num_rows} for {rules} rules.")
    inputs, start, made = table.num_rows // rules, 0, []
    for name, chosen, promise in heads:
        block = table.slice(start, inputs * len(chosen))
        made.append(_read_block(path, block, inputs, name, chosen, promise, sigma))
        start += inputs * len(chosen)
    return made


def _stem(certifier: str, rule: Form) -> str:
    """A file name that no other certifier or rule has: the parameter with all its digits."""
    kind = "" if rule.kind == "linear" else f"{rule.kind}-"
    vote = "" if rule.accurate_vote == "class" else f"-{rule.accurate_vote}"
    fields = [value for key, value in rule.to_json().items() if key not in ("kind", "accurate_vote")]
    numbers = [number for value in fields for number in (value if isinstance(value, list) else [value])]
    values = "-".join(repr(number).removesuffix(".0") for number in numbers)
    return f"certificates-{certifier}-{kind}{values}{vote}"


def _parquet(certificates: Sequence[Certificates]) -> bytes:
    about = {
        "sigma": certificates[0].sigma,
        "certificates": [
            {
                "certifier": made.certifier,
                "norm": made.norm,
                "rules": [rule.to_json() for rule in made.rules],
                "promise": made.promise.to_json() if made.promise else None,
            }
            for made in certificates
        ],
    }
    blocks = [_rows(made, position) for made in certificates for position in range(len(made.rules))]
    return pack_table(pa.concat_tables(blocks), about)


def _rows(made: Certificates, position: int) -> pa.Table:
    """A row per input, of one certifier and rule."""
    rule, count = made.rules[position], len(made)
    columns = {
        "index": made.indices,
        "label": made.labels,
        "prediction": made.prediction,
        "certifier": [made.certifier] * count,
        "rule": [rule.kind] * count,
        "parameter": [rule.parameter] * count,
        "radius": made.radius[position],
    }
    return pa.table(columns, schema=_SCHEMA)


def _read_head(entry: Fields) -> tuple[str, tuple[Form, ...], Promise]:
    name = entry.choice("certifier", tuple(CERTIFIERS))
    norm = entry.optional("norm", lambda: entry.choice("norm", NORMS)) or "l2"  # older files do not say
    if norm != CERTIFIERS[name].norm:
        raise RunError(f"{entry.where}: norm must be {CERTIFIERS[name].norm}, as certifier {name} has, got {norm}.")
    rules = tuple(form_from_json(Fields(rule, f"{entry.where}: rules")) for rule in entry.objects("rules"))
    promise = Promise.from_json(entry.part("promise"))
    if promise.certain != (norm == "l1"):
        raise RunError(
            f"{entry.where}: failure_probability must be 0 for certificates in l1, and for these alone, got "
            f"{promise.failure_probability:g} in {norm}; certify again."
        )
    entry.end()
    if (len(rules) > 1 or norm == "l1") and any(isinstance(rule, Chain) for rule in rules):
        raise RunError(
            f"{entry.where} must hold a chain by itself, in l2, got {len(rules)} rules in {norm}; certify again."
        )
    return name, rules, promise


def _read_block(
    path: Path, block: pa.Table, inputs: int, name: str, rules: tuple[Form, ...], promise: Promise, sigma: float
) -> Certificates:
    """Certificates of one certifier, whose columns must say what the head says."""
    if any(block.column(key).null_count for key in _SCHEMA.names):
        raise RunError(f"{path} must hold no nulls; certify again.")
    columns = {key: np.array(block.column(key).to_pylist()).reshape(len(rules), inputs) for key in _SCHEMA.names}
    same = {key: (columns[key] == columns[key][:1]).all() for key in ("index", "label", "prediction")}
    same["certifier"] = (columns["certifier"] == name).all()
    same["rule"] = (columns["rule"] == np.array([[rule.kind] for rule in rules])).all()
    same["parameter"] = (columns["parameter"] == np.array([[rule.parameter] for rule in rules])).all()
    if wrong := next((key for key, good in same.items() if not good), None):
        raise RunError(
            f"{path}: {wrong} must be the same in every row of a rule, and as its metadata says; certify again."
        )
    radius = columns["radius"].astype(np.float64)
    if not (np.isfinite(radius) & (radius >= 0)).all():
        raise RunError(f"{path}: radius must be finite and >= 0; certify again.")
    indices, labels, prediction = (columns[key][0].astype(np.int64) for key in ("index", "label", "prediction"))
    norm = CERTIFIERS[name].norm
    return Certificates(prediction, radius, rules, name, sigma, promise, labels, indices, norm)
