"""Google's description is HTML, Advoware's notiz is text: neither changes by going to the other side and back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.calendar_sync.description import (
    CUT_MARK,
    MAX_DESCRIPTION,
    description_of_text,
    fitting_description,
    is_cut,
    text_of_description,
)
from services.calendar_sync.model import normalise_text

pieces = st.sampled_from(
    [
        "<", ">", "&", "<b>", "</b>", "&amp;", "&amp;amp;", "&lt;", "&nbsp;", "&#160;", "&copy", "&#0;", "a < b",
        "AT&T", "R&D", "\n", "\n\n", "  ", "\t", "\u00a0", "<br>", "<br/>\n", "<a href=\"https://x.de\">", "</a>",
        "<ul>\n<li>", "- ", "1. ", "<!--", "-->", "<![CDATA[", "<script>", "</", "<p", "&#x3c;b>", "&l", "<1",
        "Max <max@example.org>", "https://x.de/?a=1&b=2&copy=3", "\u2028", "ü", "\U0001f600", "\x0c", "'", '"',
    ]
)  # fmt: skip
notes = st.lists(pieces | st.text(max_size=5), max_size=12).map("".join)


@given(notes)
@example("&lt<")
@example("a  \nb")
@example("<B>")
def test_a_text_survives_the_way_to_google_and_back(note: str) -> None:
    text = normalise_text(note)
    if text is not None:
        assert normalise_text(text_of_description(description_of_text(text))) == text


@given(notes)
def test_what_a_description_reads_as_is_read_the_same_again(description: str) -> None:
    text = normalise_text(text_of_description(normalise_text(description) or ""))
    if text is not None:
        assert normalise_text(text_of_description(fitting_description(text))) == text


@pytest.mark.parametrize(
    "text",
    [
        "Gütetermin",
        "a < b",
        "AT&T",
        "R & D",
        "3 > 2",
        "Zeile\n\nZeile  mit Abstand ",
        "https://x.de/?a=1&b=2",
        "<3",
    ],
)
def test_a_text_without_markup_goes_out_unchanged(text: str) -> None:
    assert description_of_text(text) == text


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ("a &amp; b", "a &amp;amp; b"),
        ("Max <max@example.org>", "Max &lt;max@example.org&gt;"),
        ("<!-- x -->", "&lt;!-- x --&gt;"),
    ],
)
def test_a_text_that_a_browser_would_take_for_html_is_escaped(
    text: str, description: str
) -> None:
    assert description_of_text(text) == description


@pytest.mark.parametrize(
    "raw", ["Max <max@example.org>", "Az. <12 O 3/26>", "a < b & c", "R&D"]
)
def test_an_old_copy_with_unescaped_text_reads_as_that_text(raw: str) -> None:
    assert text_of_description(raw) == raw


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("<b>Güte</b>termin", "Gütetermin"),
        ("eins<br>zwei<br />\ndrei<BR>vier", "eins\nzwei\ndrei\nvier"),
        ("<p>eins</p>\n<p>zwei</p>", "eins\nzwei"),
        ("<div>eins</div><div><br></div><div>zwei</div>", "eins\n\nzwei"),
        (
            "vorher<ul>\n  <li>a</li>\n  <li>b</li>\n</ul>nachher",
            "vorher\n- a\n- b\nnachher",
        ),
        ("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "1. a\n  - b\n2. c"),
        (
            '<a href="https://x.de/akte?a=1&amp;b=2">Akte</a> lesen',
            "Akte (https://x.de/akte?a=1&b=2) lesen",
        ),
        ('<a href="https://x.de/">https://x.de</a>', "https://x.de"),
        ('<a href="mailto:a@x.de">a@x.de</a>', "a@x.de"),
        ('<a href="https://x.de">', "https://x.de"),
        ("a&nbsp;&nbsp;b &lt;c&gt; &amp;amp;", "a  b <c> &amp;"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("<br>", ""),
        ("eins\nzwei", "eins\nzwei"),
        ("<span style='color: red'>rot</span>", "rot"),
    ],
)
def test_what_people_format_in_google_becomes_text(description: str, text: str) -> None:
    assert (normalise_text(text_of_description(description)) or "") == text


@given(st.text(min_size=1, max_size=3), st.integers(1, 4000))
@example("&amp;", 3000)
@example("<b>", 8000)
@example("x", 8192)
@example("x", 8193)
def test_what_google_would_refuse_is_cut_visibly_and_only_then(
    piece: str, times: int
) -> None:
    text = normalise_text(piece * times) or "x"
    description = fitting_description(text)
    assert len(description) <= MAX_DESCRIPTION
    read = normalise_text(text_of_description(description))
    if len(description_of_text(text)) <= MAX_DESCRIPTION:
        assert read == text
    else:
        assert is_cut(read)
        assert text.startswith((read or "").removesuffix(CUT_MARK.strip()).rstrip())
        assert len(description) > MAX_DESCRIPTION // 2


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a ",
        "<ul><li>",
        "<a href='",
        "&",
        "&nbsp;",
        "</ul>",
        "<!--",
        "<b",
        '<a href="x">',
    ],
)
def test_a_hostile_description_is_read_in_time(piece: str) -> None:
    description = piece * 20_000
    assert len(text_of_description(description)) <= 3 * len(description)
