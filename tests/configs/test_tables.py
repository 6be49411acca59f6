"""Tables that can be pasted as text."""

import io

from rich.console import Console

from configs.tables import PlainConsole, plain_table


def printed(title: str | None, *, cell: str = "a", kind: type[Console] = PlainConsole) -> list[str]:
    table = plain_table(title)
    table.add_column("run")
    table.add_row(cell)
    console = kind(width=40, record=True, file=io.StringIO())
    console.print(table)
    console.print(cell)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_table_has_a_rule_under_its_header_and_no_frame():
    lines = [line for line in printed(None) if line]
    assert [line.strip() for line in lines[:1] + lines[2:]] == ["run", "a", "a"]
    assert set(lines[1].strip()) == {"─"}
    assert not any(set(line) & set("│┃╭╰") for line in lines)


def test_a_title_stands_at_the_left():
    assert printed("cuts")[0] == "cuts"


def test_text_is_data_in_lines_cells_and_titles():
    name = "[red]:apple:\x1b[2J[/red]"
    shown = r"[red]:apple:\x1b[2J[/red]"
    lines = printed(name, cell=name)
    assert [line.strip() for line in lines if "apple" in line] == [shown] * 3
    assert shown not in printed(name, cell=name, kind=Console)
