"""A preprocessor of mdBook: what a page links to outside of docs/ isn't in the book, so there it is a link to the repository."""

import json
import posixpath
import re
import sys

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def linked(content: str, page: str, source: str, repository: str) -> str:
    def outward(link: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(source, posixpath.dirname(page), link[1]))
        return link[0] if path.startswith(f"{source}/") else f"]({repository}/blob/main/{path}"

    return LINK.sub(outward, content)


def main() -> None:
    context, book = json.load(sys.stdin)
    config = context["config"]
    about = config["book"]["src"], config["output"]["html"]["git-repository-url"]
    todo = list(book["items"])
    while todo:
        # Separators and titles of parts hold no text.
        if chapter := isinstance(item := todo.pop(), dict) and item.get("Chapter"):
            chapter["content"] = linked(chapter["content"], chapter["source_path"], *about)
            todo += chapter["sub_items"]
    json.dump(book, sys.stdout)


if sys.argv[1:2] != ["supports"]:
    main()
