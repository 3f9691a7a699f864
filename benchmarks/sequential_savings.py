"""How many draws does early stopping save, and how many certificates does it lose?

p_A recovered from the published CIFAR-10 logs of Cohen et al. 2019 (an abstention is taken as 0.45), votes drawn from
it look by look; needs the logs in ../shared/data/cohen_cifar10 (or the folder named as argument).
"""

import sys
from pathlib import Path

import numpy as np

import certmix
from certmix.certification.bounds import bound_probabilities
from certmix.certification.certify import certify
from certmix.certification.schedule import make_schedule
from certmix.certifiers import exact_radius
from certmix.intervals import clopper_pearson_lower

CASES = [
    *((0.25, 0.5, 10_000), (0.25, 0.5, 100_000), (0.5, 0.5, 10_000), (0.5, 0.5, 100_000)),
    *((0.25, 0.75, 10_000), (0.25, 0.75, 100_000), (1.0, 1.0, 100_000)),
]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared/data/cohen_cifar10")
    if not folder.is_dir():
        print(f"no logs in {folder}; nothing measured")
        return
    print("| sigma | radius | n | mean draws | saving | certified, stopped | certified, full |\n" + "|---" * 7 + "|")
    for sigma, radius, draws in CASES:
        bounds = certmix.read_certification_log(folder / f"sigma_{sigma:.2f}.tsv", sigma=sigma)
        p = np.tile(np.where(bounds.top_lower > 0, bounds.top_lower, 0.45), 20)
        generator = np.random.default_rng(0)
        schedule = make_schedule(draws, sigma=sigma, target_radius=radius)
        votes, before = np.zeros(len(p), dtype=np.int64), 0
        running, used, reached = np.ones(len(p), dtype=bool), np.zeros(len(p)), np.zeros(len(p), dtype=bool)
        for look in schedule.looks:
            votes = votes + generator.binomial(look - before, p)
            before = look
            stops = running & schedule.decided(votes, look - votes, look)
            lower = clopper_pearson_lower(votes, look, schedule.spent_at(look) / 2)
            stated = exact_radius(lower, np.minimum(np.nextafter(1 - lower, 2), 1), 1.0, sigma)
            reached |= stops & (stated >= radius)
            used[stops] = look
            running &= ~stops
        full = generator.binomial(draws, p)
        everything = np.stack([full, draws - full], axis=1)
        whole = (
            certify(bound_probabilities(np.tile([[1, 0]], (len(p), 1)), everything, sigma=sigma)).radius[0] >= radius
        )
        print(
            f"| {sigma:g} | {radius:g} | {draws:,} | {used.mean():.0f} | {draws / used.mean():.1f} x | "
            f"{100 * reached.mean():.1f} % | {100 * whole.mean():.1f} % |"
        )
        if (sigma, radius) == (0.25, 0.5):
            print(f"=> sigma 0.25, radius 0.5, n = {draws:,}: {draws / used.mean():.1f} x fewer draws")


if __name__ == "__main__":
    main()
