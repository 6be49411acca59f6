"""Names that hold control characters, as they are shown and as bash gets them."""

import shlex

import pytest

from configs.errors import UsageError
from configs.shown import command, printable, quote


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mplum\x1b[0m", r"\x1b[31mplum\x1b[0m"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\x00\x08", r"a\rb\x00\x08"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("[red]apple", "[red]apple"),
        ("Kürbis 日本 👩\u200d🍳", "Kürbis 日本 👩\u200d🍳"),
    ],
)
def test_what_steers_a_terminal_becomes_visible_and_nothing_else(name, shown):
    assert printable(name) == shown


def test_words_of_a_command_are_quoted():
    words = ("python", "-m", "launch.status", "runs/my sweep; rm -rf x", "it's")
    assert shlex.split(command(*words)) == list(words)
    assert command("python", "plain/path") == "python plain/path"


def test_a_word_with_control_characters_is_quoted_without_them():
    assert quote("a\x1b\x9b'\\\n") == r"$'a\x1b\xc2\x9b\'\\\x0a'"


def test_no_word_holds_a_nul():
    with pytest.raises(UsageError, match="holds a NUL"):
        quote("a\0")
