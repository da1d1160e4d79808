"""Checks of an HTML page."""

import re
from html.parser import HTMLParser

VOID_ELEMENTS = {"meta", "img"}


class Tags(HTMLParser):
    """Collect the tags of a page; raise AssertionError if one is not closed in turn."""

    def __init__(self, page):
        super().__init__()
        self.open, self.names = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(page):
    """Check that a page is complete, has no scripts and fetches nothing; return its tags."""
    tags = Tags(page)
    assert tags.open == []
    assert not {"script", "link", "iframe", "object"} & set(tags.names)
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page fetches a file"
    assert not re.search(r"url\((?!#)", page), "the page fetches a file"
    return tags.names
