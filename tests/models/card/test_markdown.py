"""Names survive the way through Markdown as text."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from models.card import markdown

NAMES = [
    "boot",
    "[x](http://e.com)",
    "<b>bold</b><script>alert(1)</script>",
    "a|b",
    "*_`~^$",
    "&amp; & <",
    "{{ 7 * 7 }} {% raw %}",
    "www.example.com and me@example.com #3 @user",
    "![i](j.png)",
    "C:\\food\\",
    "Ämne 花",
    "---",
    "",
]


def cell(name: str) -> str:
    page = MarkdownIt("gfm-like", {"linkify": False}).render(f"| a |\n| --- |\n| {name} |\n")
    return re.findall(r"<td>(.*?)</td>", page, flags=re.DOTALL)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is(name):
    shown = cell(markdown.text(name))
    assert "<" not in shown and html.unescape(shown) == name


def test_without_the_protection_a_name_is_markup():
    assert "<a " in cell("[x](http://e.com)") and "<b>" in cell("<b>bold</b>")


def test_control_characters_are_visible_and_a_name_stays_on_its_line():
    assert html.unescape(cell(markdown.text("a\nb\x1b[31m"))) == r"a\nb\x1b[31m"


@pytest.mark.parametrize("name", [*NAMES, "a'b\"c", "a\nb\x1b", "```"])
def test_a_literal_is_the_name(name):
    written = markdown.literal(name)
    assert eval(written) == name and written.isprintable()
