"""A fuzzer that reads the contract finds nothing that breaks it, and a reader leaves nothing behind.

A few examples of each operation here; ``python -m tests.api.fuzz`` makes hundreds.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.fuzz import Fuzzed, fuzz_as_holder, fuzz_as_reader

pytestmark = pytest.mark.long

EXAMPLES = 8


@pytest.mark.parametrize("fuzz", [fuzz_as_reader, fuzz_as_holder])
def test_a_fuzzer_finds_no_fault_and_changes_nothing(tmp_path: Path, fuzz: Callable[[Path, int], Fuzzed]) -> None:
    done = fuzz(tmp_path, EXAMPLES)
    assert done.good, done.words
    assert done.calls > 15 * EXAMPLES
