"""What MkDocs does with our pages beyond its own: links to files that are no pages become the files' names, and the
dialogue of the search has a name for screen readers, which the theme leaves out.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """A page as the site has it; links that lead out of docs/ are files of the repository, which the site has not."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(link: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(folder, link[3]))
        if "://" in link[3] or not place.startswith("../"):
            return link[0]
        return f"{link[2]} (`{place[3:]}`)"

    return _LINK.sub(named, markdown)


def on_post_page(output: str, **others: Any) -> str:
    """A page's HTML, as it is written."""
    return output.replace(' role="dialog"', ' role="dialog" aria-label="Search"')
