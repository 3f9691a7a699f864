"""Runs made by hand for reports: random votes of ten classes, written as real run folders."""

import hashlib
from dataclasses import replace

import numpy as np

from certmix.certification.bounds import promise_of
from certmix.certification.chain import bound_chain, certify_chain
from certmix.formats.certificates import write_certificates
from certmix.report import build_report, read_chains
from certmix.runs.draws import DataRecord, ModelRecord
from certmix.runs.grouping import read_nodes, read_runs
from certmix.runs.manifest import Manifest
from certmix.runs.records import InputRecord
from certmix.runs.writer import RunWriter
from tests.records import DRAWS, ENVIRONMENT

CLASSES = 10


def write_run(folder, sigma=0.5, inputs=60, draws=1000, spec="h.safetensors", data="digits", accurate=True, **changes):
    """A run folder of votes that are surer at smaller sigma; the same labels and g at every sigma."""
    rng = np.random.default_rng(7)
    labels, wrong = rng.integers(0, CLASSES, inputs), rng.random(inputs) < 0.1
    sure = rng.beta(4, 1 + 2 * sigma, inputs)
    g_sure = rng.uniform(0.5, 0.95, inputs)
    rng = np.random.default_rng(int(1000 * sigma))
    sha = hashlib.sha256(spec.encode()).hexdigest()
    made = replace(
        DRAWS,
        model=ModelRecord(spec, sha),
        accurate=ModelRecord("g.safetensors", sha) if accurate else None,
        dataset=DataRecord(data, "f" * 64, {"split": "test"}, inputs, (1, 8, 8)),
        num_classes=CLASSES,
        sigma=sigma,
        num_selection=100,
        num_estimation=draws,
        **changes,
    )
    with RunWriter(folder, Manifest(made, ((0.5,),), ENVIRONMENT)) as writer:
        for index in range(inputs):
            share = (1 - sure[index]) * rng.dirichlet(np.full(CLASSES, 0.3))
            share[(labels[index] + (rng.random() < 0.08)) % CLASSES] += sure[index]
            g = np.full(CLASSES, (1 - g_sure[index]) / 9, dtype=np.float32)
            g[(labels[index] + wrong[index]) % CLASSES] = g_sure[index]
            votes = [rng.multinomial(n, share / share.sum()) for n in (100, draws)]
            writer.add(InputRecord(index, int(labels[index]), *votes, 0, 0, g if accurate else None, 0.1))
    return folder


def write_chain(folder, *runs, thresholds=(0.6, 0.3), rows=None, certifier="exact", confidence=None):
    """What `certmix chain --out` leaves of run folders, over some of the inputs."""
    bounds = bound_chain([run.statistics for run in read_nodes(runs)], confidence=confidence)
    made = certify_chain(bounds if rows is None else bounds.rows(rows), thresholds, certifier=certifier)
    write_certificates(folder, [made])
    return folder


def report_of(*folders, classes=None, title="Certified robustness", pictures=None, certificates=None, **promise):
    """The report of run folders."""
    runs = read_runs(folders)
    promises = [promise_of(run.statistics, **promise) for run in runs]
    chains = [] if certificates is None else read_chains(certificates, runs)
    return build_report(runs, promises, title=title, classes=classes, pictures=pictures, chains=chains)
