from __future__ import annotations

from fusion.report.markup import folded, items, paragraph, section, table

HOSTILE = '<script>"a" & b</script>'
SAFE = "&lt;script&gt;&quot;a&quot; &amp; b&lt;/script&gt;"


def test_every_text_is_escaped() -> None:
    made = [
        paragraph(HOSTILE),
        table([HOSTILE], [[HOSTILE]], caption=HOSTILE),
        items([HOSTILE]),
        folded(HOSTILE, ""),
        section("name", HOSTILE),
    ]
    assert [text.count(SAFE) for text in made] == [1, 3, 1, 1, 1]
    assert "<script" not in "".join(made)


def test_numbers_in_tables_do_not_wrap() -> None:
    row = table(["a"], [["x", "-1.5", "3 of 4", "", "+"]]).partition("<tbody>")[2]
    kinds = ["number" in cell for cell in row.split("</td>")[:-1]]
    assert kinds == [False, True, True, False, False]
