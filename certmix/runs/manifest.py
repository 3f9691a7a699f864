"""manifest.json: the draws of a run, the machine that made them, and what the noise audit found."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from certmix.errors import RunError
from certmix.json_fields import Fields
from certmix.runs.draws import Draws

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Environment:
    """Where draws were made. None of it defines them, but a nearly tied vote may depend on it.

    Attributes:
        certmix, torch, numpy, python: versions.
        device: name of the GPU, or the processor's architecture.
        batch_size: rows of every forward pass.
        threads: of torch.
        compiled: whether the model went through torch.compile.
        float32_matmul_precision, allow_tf32, cudnn: settings that change rounding; cuDNN's version or None.
    """

    certmix: str
    torch: str
    numpy: str
    python: str
    device: str
    batch_size: int
    threads: int
    compiled: bool
    float32_matmul_precision: str
    allow_tf32: bool
    cudnn: int | None

    @classmethod
    def from_json(cls, tree: Fields) -> "Environment":
        """Raises RunError where a field breaks its rule."""
        made = cls(
            certmix=tree.text("certmix"),
            torch=tree.text("torch"),
            numpy=tree.text("numpy"),
            python=tree.text("python"),
            device=tree.text("device"),
            batch_size=tree.integer("batch_size", 1, 10**7),
            threads=tree.integer("threads", 1, 10**5),
            compiled=tree.flag("compiled"),
            float32_matmul_precision=tree.text("float32_matmul_precision"),
            allow_tf32=tree.flag("allow_tf32"),
            cudnn=tree.optional("cudnn", lambda: tree.integer("cudnn", 0)),
        )
        tree.end()
        return made


@dataclass(frozen=True)
class Manifest:
    """What a run folder says about its shards.

    Attributes:
        draws: what defines them.
        probe: the base classifier's outputs on some fixed noisy inputs: another model answers otherwise, even where
            its weights are the same.
        environment: where the first of them were made.
        audits: what the noise audit of every session found.
    """

    draws: Draws
    probe: tuple[tuple[float, ...], ...]
    environment: Environment
    audits: tuple[Mapping[str, object], ...] = ()

    def with_audit(self, summary: Mapping[str, object]) -> "Manifest":
        """The manifest after another session."""
        return replace(self, audits=(*self.audits, summary))

    def with_batch_size(self, rows: int) -> "Manifest":
        """The manifest of a session that makes passes of another size; the stored one keeps its own."""
        return replace(self, environment=replace(self.environment, batch_size=rows))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "draws": self.draws.to_json(),
            "probe": [[value if math.isfinite(value) else None for value in row] for row in self.probe],
            "environment": asdict(self.environment),
            "audits": [dict(entry) for entry in self.audits],
        }

    @classmethod
    def from_json(cls, tree: object, where: str) -> "Manifest":
        """Of what `to_json` made. Raises RunError with one line where anything about it is wrong."""
        whole = Fields(tree, where)
        version = whole.integer("schema_version", 0)
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{where} has schema version {version}, this certmix reads {SCHEMA_VERSION}; draw the run again, or use "
                "the certmix that wrote it."
            )
        made = cls(
            draws=Draws.from_json(whole.part("draws")),
            probe=whole.rows("probe"),
            environment=Environment.from_json(whole.part("environment")),
            audits=whole.objects("audits"),
        )
        whole.end()
        return made


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a run folder. Raises RunError where the folder is no run or the manifest is damaged."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        kind = "a file" if Path(folder).is_file() else "a folder without manifest.json"
        what = kind if Path(folder).exists() else "missing"
        raise RunError(f"{folder} is not a run folder ({what}); name a folder that `certmix certify --out` wrote.")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RunError(f"{path} must be a manifest, got {path.stat().st_size} bytes; restore it from a copy.")
        tree = json.loads(path.read_text())
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error!s:.80}); restore it from a copy.") from None
    return Manifest.from_json(tree, str(path))
