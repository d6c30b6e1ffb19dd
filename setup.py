"""README for a package index, where a link into the tree leads nowhere. All other metadata: ``pyproject.toml``."""

import re
from pathlib import Path

#: Where the tree can be read, with a slash at the end. While there is no such place, links into it become plain text.
TREE = ""
ELSEWHERE = "The files that this page names are in the source distribution: `docs/` and `CHANGES.md`.\n"


def readme_for_index(text: str, tree: str = TREE) -> str:
    """*text* (Markdown) with each link and picture of the tree as one below *tree*, or without the link."""

    def absolute(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if "://" in target:
            return link[0]
        if tree:
            return f"{picture}[{words}]({tree}{target})"
        return "" if picture else words

    found = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, text)
    found = re.sub(r"\n{3,}", "\n\n", found)
    return found if tree else f"{found.rstrip()}\n\n{ELSEWHERE}"


if __name__ == "__main__":
    from setuptools import setup  # only where something is built

    setup(
        long_description=readme_for_index(Path(__file__).with_name("README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
