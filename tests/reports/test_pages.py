from __future__ import annotations

from pathlib import Path

import pytest

from reports import pages

PAGE = "head\n<!-- a:begin -->\nold\n<!-- a:end -->\n<!-- b:begin -->\nkept\n<!-- b:end -->\n"


def test_only_what_stands_between_the_named_markers_is_replaced():
    assert pages.between(PAGE, "a", r"new \1") == PAGE.replace("old", r"new \1")
    assert pages.between(PAGE, "c", "new") == PAGE


def test_written_pages_are_up_to_date_and_a_changed_one_is_named(tmp_path):
    written = {Path("docs/a.md"): "a\n", Path("b.md"): "b\n"}
    pages.write(tmp_path, written)
    pages.check(tmp_path, written, "make pages")
    (tmp_path / "docs/a.md").write_text("changed\n")
    with pytest.raises(pages.StaleError, match=r"docs/a\.md .*run `make pages`"):
        pages.check(tmp_path, written, "make pages")


def test_a_page_that_is_missing_is_named(tmp_path):
    with pytest.raises(pages.StaleError, match=r"a\.md"):
        pages.check(tmp_path, {Path("a.md"): ""}, "make pages")
