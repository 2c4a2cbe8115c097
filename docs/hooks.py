"""What MkDocs builds the site from: `docs/`, and the pages that stand beside what they describe.

README.md is the first page; the READMEs of rooms and experiments, CONTRIBUTING.md and CHANGELOG.md
are pages too. A link to any other file of the repository adds that file to the site.
"""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1]))
from nas.cell.mathml import mathml_lines
from nas.zoo import ZOO

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "nas/**/README.md", "experiments/**/*.md")
GALLERY = "gallery.md"
EQUATIONS = re.compile(r"```math\n(.*?)```", re.DOTALL)
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")


def source_of(page: str) -> str:
    """The file of the repository that a page of the site is made from."""
    if page == "index.md":
        return "README.md"
    return page if (ROOT / page).is_file() else f"docs/{page}"


def page_of(source: str) -> str:
    """The inverse of `source_of`."""
    return "index.md" if source == "README.md" else source.removeprefix("docs/")


def on_files(files: Files, config: Any) -> Files:
    """Add what stands outside `docs/`."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            source = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, page_of(source), abs_src_path=str(path)))
    for name, cell in ZOO.items():
        files.append(File.generated(config, f"walk/{name}.html", content=cell.walk()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let the links of a page, which are right in the repository, be right on the site."""
    here = page.file.src_uri
    markdown = EQUATIONS.sub(_drawn, markdown)
    if here == GALLERY:
        walk = r"\g<0>\n\n[A walk through it, step by step](walk/\1.html)"
        markdown = re.sub(r"!\[(\w+)\]\(gallery/\w+\.svg\)", walk, markdown)
    folder = posixpath.dirname(source_of(here))

    def changed(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        source = posixpath.normpath(posixpath.join(folder, target))
        if (ROOT / source).is_dir():
            source = f"{source}/README.md"
        if not (ROOT / source).is_file():
            return match[0]  # MkDocs names it
        there = page_of(source)
        if not there.endswith(".md") and files.get_file_from_path(there) is None:
            files.append(File.generated(config, there, abs_src_path=str(ROOT / source)))
        return f"{before}{posixpath.relpath(there, posixpath.dirname(here))}{anchor or ''}{after}"

    return LINK.sub(changed, markdown)


def _drawn(equations: re.Match[str]) -> str:
    """Equations as MathML, which needs no script."""
    return f'<div class="equations">{mathml_lines(equations[1])}</div>'


def on_config(config: Any) -> Any:
    """Replace patterns in the navigation by the pages that they match."""
    for section in config["nav"]:
        for pages in section.values():
            if isinstance(pages, list):
                pages[:] = [page for each in pages for page in _matching(each)]
    return config


def _matching(page: Any) -> list[Any]:
    if not isinstance(page, str) or "*" not in page:
        return [page]
    return [page_of(path.relative_to(ROOT).as_posix()) for path in sorted(ROOT.glob(page))]
