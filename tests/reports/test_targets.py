from __future__ import annotations

import pytest

from reports import targets
from reports.targets import Figure


@pytest.mark.parametrize(
    ("reached", "at_least", "is_met"),
    [
        (10.0, True, True),
        (9.9, True, False),
        (10.0, False, True),
        (10.1, False, False),
        (None, True, False),
        (None, False, False),
    ],
)
def test_a_target_is_met_at_its_bound_and_not_beyond(reached, at_least, is_met):
    assert Figure("what", 10.0, reached, at_least=at_least).is_met is is_met


def test_the_table_says_what_falls_short_and_what_was_not_measured():
    figures = [
        Figure("fast", 5.0, 4.0, at_least=False, unit=" ms"),
        Figure("many", 5.0, 4.0, at_least=True),
        Figure("none", 5.0, None, at_least=True),
    ]
    rows = targets.table(figures).splitlines()[2:]
    assert rows == [
        "| fast | at most 5 ms | 4 ms | reached |",
        "| many | at least 5 | 4 | **short** |",
        "| none | at least 5 | - | not measured |",
    ]
