"""A page of HTML as a browser would read it, for tests of the pages that we write."""

import re
from html.parser import HTMLParser

# Elements that HTML ends by itself.
ENDLESS = {"img", "meta", "wbr"}
# What a page would fetch something with, or run.
ACTIVE = {"audio", "embed", "iframe", "image", "link", "object", "script", "video"}


class Page(HTMLParser):
    """What a browser would find: every element with its attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self._of_id: dict[str, str] = {}
        self._open_ids: list[str | None] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in ENDLESS:
            self.open.append(tag)
            self._open_ids.append(attributes.get("id"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._open_ids.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        for name in filter(None, self._open_ids):
            self._of_id[name] = self._of_id.get(name, "") + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, name: str) -> str:
        """Return the text in the element of that id."""
        return self._of_id[name]

    def check_whole(self) -> None:
        """Check that every element ends, and that what is referred to is there, and once."""
        assert self.open == []
        names = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(names) == len(set(names))
        referred = re.findall(
            r"url\(#([^)]+)\)|href=\"#([^\"]+)\"|labelledby=\"([^\"]+)\"", self.text
        )
        assert {name for each in referred for name in each if name} <= set(names)

    def check_self_contained(self) -> None:
        """Check that it fetches nothing and runs nothing."""
        assert {tag for tag, _ in self.elements} & ACTIVE == set()
        assert not re.search(r"(?:src|href)=\"(?!#|data:)", self.text)
        assert "@import" not in self.text
        assert not re.search(r"url\((?!#)", self.text)
        assert not re.search(r"<[^>]* on\w+=", self.text)
        policy = next(each for each in self.of("meta") if "http-equiv" in each)
        assert str(policy["content"]).startswith("default-src 'none'")

    def check_colours(self) -> None:
        """Check that all colours are variables, which are other ones on dark ground."""
        _, _, body = self.text.partition("</style>")
        assert "prefers-color-scheme: dark" in self.text
        assert not re.search(r"(?:fill|stroke|color): ?#[0-9a-f]", body)
        used = set(re.findall(r"var\(--([\w-]+)\)", body))
        assert used <= set(re.findall(r"--([\w-]+):", self.text))
