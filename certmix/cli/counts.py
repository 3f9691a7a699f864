"""`certmix certify --counts`: certify votes that someone else counted, from a text table."""

from pathlib import Path

from certmix.certification.certify import certify
from certmix.cli.accuracy import accuracy_rows, accuracy_table
from certmix.cli.options import PromiseOptions
from certmix.cli.output import Output
from certmix.cli.values import Numbers
from certmix.formats.certificates import write_certificates
from certmix.formats.count_table import bound_counts, read_count_table
from certmix.promise import DEFAULT_FAILURE_PROBABILITY
from certmix.specs import parse_spec, refuse_unknown


def certify_counts(
    table: str,
    sigma: float,
    promise: PromiseOptions,
    radii: Numbers | None,
    output: Output,
    *,
    out: Path | None,
    force: bool,
) -> None:
    """Certify `FILE[,selection=FILE]` and print the table; with `out`, write certificates into that folder."""
    _, path, options = parse_spec(f"counts:{table}", ["counts"], "count table")
    refuse_unknown(options, ("selection",), table)
    counts, labels = read_count_table(path)
    selection = read_count_table(options["selection"])[0] if "selection" in options else None
    err = promise.failure_probability or DEFAULT_FAILURE_PROBABILITY
    bounds = bound_counts(
        counts,
        sigma=sigma,
        failure_probability=err,
        interval=promise.interval,  # type: ignore[arg-type]  # checked while parsing
        selection_counts=selection,
        labels=labels,
    )
    able = promise.able(promise.rules())
    made = [certify(bounds, rules=rules, certifier=name) for name, rules in able.items()]
    rows = accuracy_rows(made, radii)
    files = [] if out is None else write_certificates(out, made, force=force)
    chosen = "the same counts" if selection is None else options["selection"]
    values = {"counts": path, "inputs": len(labels), "selected_by": chosen, "sigma": sigma, "failure_probability": err}
    how = f"bounded for all {counts.shape[1]} classes" if selection is None else "which are other draws"
    caption = (
        f"{path}: {len(counts)} inputs, {int(counts.sum(axis=1).min())} or more draws each, sigma {sigma:g}; classes "
        f"chosen by {chosen}, {how}. Accuracies in % with 95 % intervals of the test set; each certificate is wrong with "
        f"probability at most {err:g}, if the counts are independent draws of Gaussian noise of that sigma."
    )
    values |= {"interval": promise.interval, "files": files, "certified_accuracy": rows}
    output.show(values, accuracy_table(rows, output.table_format, [caption]), [caption])
