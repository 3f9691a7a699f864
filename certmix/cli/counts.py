"""`certmix certify --counts`: certify votes that someone else counted, from a text table."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from certmix.certification.certify import certify
from certmix.cli.report import DEFAULT_RADII, accuracy_table, curve_rows
from certmix.curves import certified_accuracy
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import write_certification_log
from certmix.formats.count_table import bound_counts, read_count_table
from certmix.specs import parse_spec, refuse_unknown


def report_counts(
    table: str,
    *,
    sigma: float | None,
    out: Path | None,
    weights: Sequence[float],
    certifiers: Sequence[str],
    failure_probability: float,
    rule: str,
    radii: Sequence[float] | None,
    table_format: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Certify `FILE[,selection=FILE]` and print the table; with `out`, write Cohen-format logs into that folder."""
    if sigma is None:
        raise InvalidArgument("--counts needs --sigma, that of the noise behind the counts: the file does not say it.")
    _, path, options = parse_spec(f"counts:{table}", ["counts"], "count table")
    refuse_unknown(options, ("selection",), table)
    counts, labels = read_count_table(path)
    selection = read_count_table(options["selection"])[0] if "selection" in options else None
    bounds = bound_counts(
        counts,
        sigma=sigma,
        failure_probability=failure_probability,
        rule=rule,
        selection_counts=selection,
        labels=labels,
    )
    made = [certify(bounds, mixing_weight=weights, certifier=name) for name in certifiers]
    reach = max(float(certificates.radius.max()) for certificates in made)
    wanted = radii or [radius for radius in DEFAULT_RADII if radius <= max(reach, 0.5)]
    rows: list[dict[str, Any]] = []
    files: list[str] = []
    for certificates in made:
        rows += curve_rows(certified_accuracy(certificates, labels, wanted))
        if out is not None:
            files += _write_logs(out, certificates, several=len(made) * len(weights) > 1)
    if as_json:
        summary = {"counts": path, "inputs": len(labels), "selected_by": options.get("selection", "the same counts")}
        promise = {"sigma": sigma, "failure_probability": failure_probability, "rule": rule, "files": files}
        print(json.dumps({**summary, **promise, "certified_accuracy": rows}, indent=2))
        return
    print(accuracy_table(rows, table_format))
    if not quiet:
        print(_caption(path, counts, sigma, failure_probability, selection is not None), file=sys.stderr)


def _caption(path: str, counts: Any, sigma: float, failure_probability: float, selected: bool) -> str:
    how = (
        "chosen by other draws"
        if selected
        else f"chosen by the same counts, so bounded for all {counts.shape[1]} classes"
    )
    return (
        f"{path}: {len(counts)} inputs, {int(counts.sum(axis=1).min())} or more draws each, sigma {sigma:g}; classes "
        f"{how}. Accuracies in % with 95 % intervals of the test set; each certificate is wrong with probability at most "
        f"{failure_probability:g}, if the counts are independent draws of Gaussian noise of that sigma."
    )


def _write_logs(out: Path, certificates: Any, *, several: bool) -> list[str]:
    files = []
    out.mkdir(parents=True, exist_ok=True)
    for position, weight in enumerate(certificates.mixing_weight):
        stem = f"certificates-{certificates.certifier}-{weight:g}" if several else "certificates"
        files.append(str(out / f"{stem}.tsv"))
        write_certification_log(files[-1], certificates, weight_position=position)
    return files
