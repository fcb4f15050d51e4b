"""The documentation: every relative link leads somewhere, and every command in it parses."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted(
    page.relative_to(ROOT)
    for page in [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ]
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(page: pathlib.Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))


def anchors(page: pathlib.Path) -> set[str]:
    """What GitHub makes of a page's headings; a repeated heading gets a number."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = found[anchor] = found.get(anchor, -1) + 1
        if number:
            found[f"{anchor}-{number}"] = 0
    return set(found)


def links(page: pathlib.Path) -> list[str]:
    return [link for link in re.findall(r"]\(([^)\s]+)\)", prose(page)) if not re.match(r"[a-z]+:", link)]


def test_anchors_are_those_of_github(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("# Size & speed\n## The `x_y` of [it](b.md)\n## D1, D2\n## D1, D2\n```\n# no\n```\n")
    assert anchors(pathlib.Path("a.md")) == {"size--speed", "the-x_y-of-it", "d1-d2", "d1-d2-1"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page.parent / path).resolve() if path else ROOT / page
        found = target.exists() and ROOT in target.parents
        if not found or (anchor and anchor not in anchors(target.relative_to(ROOT))):
            broken.append(link)
    assert not broken, f"{page}: {broken}"


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [pathlib.Path("README.md")]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        targets = [(ROOT / page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        pages = [target.relative_to(ROOT) for target in targets if target.suffix == ".md" and target.is_file()]
        waiting += [target for target in pages if target not in seen]
    assert {page for page in PAGES if page.parts[0] == "docs"} <= seen
