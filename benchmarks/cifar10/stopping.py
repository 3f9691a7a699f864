"""How many draws does early stopping save on a real network, and does it decide as all draws do?

    python stopping.py RUN STOPPED RADIUS

RUN holds all draws, STOPPED those of the same images with `--stop-at-radius RADIUS`, from other noise.
"""

import sys

import certmix


def main() -> None:
    full, stopped = (certmix.read_statistics(folder) for folder in sys.argv[1:3])
    radius = float(sys.argv[3])
    assert (full.indices == stopped.indices).all()
    reached = [certmix.certify(one, mixing_weight=1.0).radius[0] >= radius for one in (full, stopped)]
    used, given = stopped.estimation_draws.mean(), full.estimation_draws.mean()
    print(f"{len(full)} images, sigma {full.sigma:g}, does the certified radius of weight 1 reach {radius:g}?\n")
    print(
        f"| draws an image | yes, all draws | yes, stopped | yes by all draws only | yes by stopping only |\n{'|---' * 5}|"
    )
    only = [int((reached[i] & ~reached[1 - i]).sum()) for i in (0, 1)]
    print(f"| {used:,.0f} of {given:,.0f} | {reached[0].sum()} | {reached[1].sum()} | {only[0]} | {only[1]} |")
    print(f"\n=> {100 * (1 - used / given):.1f} % of the draws saved")


if __name__ == "__main__":
    main()
