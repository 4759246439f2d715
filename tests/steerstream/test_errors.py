from __future__ import annotations

import inspect
import re

from steerstream import errors


def test_the_tree_in_the_docstring_is_that_of_the_classes():
    _, tree, _ = (errors.__doc__ or "").split("```")
    drawn: dict[str, str] = {}
    path: list[str] = []
    for indent, name in re.findall(r"^((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)", tree, re.MULTILINE):
        depth = len(indent) // 4
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else "Exception"
    kinds = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert drawn == kinds


def test_other_parents_are_named_in_the_tree():
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, Exception):
            for parent in kind.__bases__[1:]:
                assert re.search(rf"{name} .*\(also an? {parent.__name__}\)", errors.__doc__ or "")
