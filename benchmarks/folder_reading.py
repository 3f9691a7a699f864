"""What does certifying from a folder of images cost beside the draws: listing, fingerprint, decoding, memory?

2,000 JPEGs of 500 x 375 (as in ImageNet, 80 kB each) in 20 class folders, read as `mode=rgb,resize=256,crop=224`. The
fingerprint reads every file once and decodes none; an input is decoded once when its turn comes. Best of three, warm
page cache; memory is what the process grows by while it reads all of them twice:

    OMP_NUM_THREADS=1 python benchmarks/folder_reading.py
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from certmix.datasets import load_dataset

CLASSES, PER_CLASS = 20, 100


def write_images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        folder = root / f"n{label:02d}"
        folder.mkdir()
        pixels = rng.integers(0, 256, (375, 500, 3), dtype=np.uint8)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)).save(folder / "0000.jpg", quality=90)
        for number in range(1, PER_CLASS):
            (folder / f"{number:04d}.jpg").write_bytes((folder / "0000.jpg").read_bytes())


def best_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def resident_mebibytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        spec, count = f"folder:{folder},mode=rgb,resize=256,crop=224", CLASSES * PER_CLASS
        data = load_dataset(spec)
        data[0]
        before = resident_mebibytes()
        listing = best_seconds(lambda: load_dataset(spec))
        fingerprint = best_seconds(lambda: load_dataset(spec).fingerprint) - listing
        decoding = best_seconds(lambda: [data[position][1] for position in range(0, count, 10)]) * 10
        for _ in range(2):
            for position in range(count):
                data[position]
        grown = resident_mebibytes() - before
    print("| step | microseconds per image |")
    print("|---|---|")
    for name, seconds in (("listing", listing), ("fingerprint", fingerprint), ("decoding", decoding)):
        print(f"| {name} | {1e6 * seconds / count:.0f} |")
    print(
        f"\nMemory grew by {grown:.1f} MiB; all inputs as float32 would be {count * 3 * 224 * 224 * 4 / 2**20:.0f} MiB."
    )


if __name__ == "__main__":
    main()
