from __future__ import annotations

import pytest

from reports import text


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (9.994, "9.99 ms"), (9.996, "10.0 ms"), (123.45, "123.5 ms")]
)
def test_milliseconds_have_about_three_digits(value, shown):
    assert text.ms(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0, "0.00 %"), (0.0123, "0.0123 %"), (0.1, "0.10 %")]
)
def test_a_small_percentage_is_not_rounded_to_none(value, shown):
    assert text.percent(value) == shown


def test_counts_are_sorted_and_zeros_left_out():
    assert text.counts({"a": 1, "b": 0, "c": 1200}) == "c 1,200, a 1"
    assert text.counts({"a": 0}) == "none"


def test_numbers_have_their_thousands_apart():
    assert (text.number(12345.6), text.number(1.25, 1), text.number(None)) == ("12,346", "1.2", "-")


def test_a_table_has_names_to_the_left_and_figures_to_the_right():
    assert text.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
