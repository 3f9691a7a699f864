"""The networks and digits of the attacks' tests."""

from tests.attacks.conftest import accurate, dataset, robust  # noqa: F401  (fixtures)
