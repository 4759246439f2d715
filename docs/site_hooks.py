"""The pages of the site that `make docs` builds: every document of the repository, and the API.

The site has the repository's folders, so that the relative links between documents, and from them
to other files, are the same there as in a checkout. A link that leads nowhere fails the build.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "steerstream",
    "bundle/steerstream_bundle",
    "service/steerstream_service",
    "simulation/steerstream_simulation",
    "model_export",
)
_DOCUMENTS = ("*.md", "docs/**/*.md", "findings/*.md", "model_export/*.md")
_LINK = re.compile(r"\]\(([\w./-]+)(?:#[\w-]+)?\)")


def on_files(files: Files, *, config: Any) -> Files:  # noqa: ANN401 - mkdocs says what it is
    """Return the theme's files, the documents with what they link to, and a page a module."""
    site = [file for file in files if file.src_dir != config.docs_dir]
    for path in sorted(_reached({path for pattern in _DOCUMENTS for path in ROOT.glob(pattern)})):
        name = path.relative_to(ROOT).as_posix()
        site.append(File.generated(config, name, abs_src_path=str(path)))
    modules = sorted(_modules())
    for module in modules:
        page = f"# `{module}`\n\n::: {module}\n"
        site.append(File.generated(config, f"api/{module}.md", content=page))
    listing = "\n".join(f"- [`{module}`]({module}.md)" for module in modules)
    site.append(File.generated(config, "api/README.md", content=f"# API reference\n\n{listing}\n"))
    return Files(site)


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:  # noqa: ANN401
    """Return a document without its links to folders, which are no pages of the site."""
    folder = posixpath.dirname(page.file.src_uri)

    def without(link: re.Match[str]) -> str:
        return link[1] if (ROOT / folder / link[2]).is_dir() else link[0]

    return re.sub(r"\[([^\]]*)\]\(([\w./-]+)\)", without, markdown)


def _reached(documents: set[Path]) -> set[Path]:
    """Return documents with the files that they link to, and those that linked documents do."""
    reached, waiting = set(documents), list(documents)
    while waiting:
        document = waiting.pop()
        for target in _LINK.findall(document.read_text(encoding="utf-8")):
            path = (document.parent / target).resolve()
            if path.is_file() and path not in reached:
                reached.add(path)
                if path.suffix == ".md":
                    waiting.append(path)
    return reached


def _modules() -> Iterator[str]:
    """Yield every public module by its full name; the stubs are documented by their schema."""
    for package in PACKAGES:
        top = ROOT / package
        for path in top.rglob("*.py"):
            parts = path.relative_to(top.parent).with_suffix("").parts
            if "v1" not in parts and parts[-1] != "__main__":
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
