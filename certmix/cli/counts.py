"""`certmix certify --counts`: certify votes that someone else counted, from a text table."""

from pathlib import Path

from certmix.certification.certify import DEFAULT_FAILURE_PROBABILITY, Certificates, certify
from certmix.cli.accuracy import accuracy_rows, accuracy_table
from certmix.cli.options import PromiseOptions
from certmix.cli.output import Output
from certmix.cli.values import Numbers
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import write_certification_log
from certmix.formats.count_table import bound_counts, read_count_table
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
    """Certify `FILE[,selection=FILE]` and print the table; with `out`, write Cohen-format logs into that folder."""
    _, path, options = parse_spec(f"counts:{table}", ["counts"], "count table")
    refuse_unknown(options, ("selection",), table)
    counts, labels = read_count_table(path)
    selection = read_count_table(options["selection"])[0] if "selection" in options else None
    err = DEFAULT_FAILURE_PROBABILITY if promise.failure_probability is None else promise.failure_probability
    bounds = bound_counts(
        counts,
        sigma=sigma,
        failure_probability=err,
        rule=promise.interval,
        selection_counts=selection,
        labels=labels,
    )
    made = [certify(bounds, mixing_weight=promise.weights, certifier=name) for name in promise.certifiers]
    rows = accuracy_rows(made, radii)
    files = [] if out is None else _write_logs(out, made, force=force)
    chosen = "the same counts" if selection is None else options["selection"]
    values = {"counts": path, "inputs": len(labels), "selected_by": chosen, "sigma": sigma, "failure_probability": err}
    how = f"bounded for all {counts.shape[1]} classes" if selection is None else "which are other draws"
    caption = (
        f"{path}: {len(counts)} inputs, {int(counts.sum(axis=1).min())} or more draws each, sigma {sigma:g}; classes "
        f"chosen by {chosen}, {how}. Accuracies in % with 95 % intervals of the test set; each certificate is wrong with "
        f"probability at most {err:g}, if the counts are independent draws of Gaussian noise of that sigma."
    )
    values |= {"interval": promise.interval, "files": files, "certified_accuracy": rows}
    output.show(values, accuracy_table(rows, output.table_format), [caption])


def _write_logs(out: Path, made: list[Certificates], *, force: bool) -> list[str]:
    """One log per certifier and weight. Raises InvalidArgument where one exists, unless `force`."""
    several = len(made) * len(made[0].mixing_weight) > 1
    planned = [
        (out / (f"certificates-{c.certifier}-{weight:.17g}.tsv" if several else "certificates.tsv"), c, position)
        for c in made
        for position, weight in enumerate(c.mixing_weight.tolist())
    ]
    for path, _, _ in planned:
        if path.exists() and not force:
            raise InvalidArgument(f"{path} must not exist, but does; choose another --out or add --force.")
    out.mkdir(parents=True, exist_ok=True)
    for path, certificates, position in planned:
        write_certification_log(str(path), certificates, weight_position=position)
    return [str(path) for path, _, _ in planned]
