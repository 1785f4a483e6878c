"""Searching: folding, the query language, snippets."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import InputError, LimitExceededError
from bamboo_sessions.domain.limits import SEARCHED_CHARS_MAX, SNIPPET_CHARS_MAX
from bamboo_sessions.domain.search import Text, match, snippet
from bamboo_sessions.domain.search_query import TextQuery, parse
from bamboo_sessions.domain.search_text import composed, fold, place_in

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ANY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(' "*-+_\0\ud800\u0301ßİﬁÅ\u212b가각한ｶﾞがか\u3099日本語ไทย🎉👩🏽\u200d🚀❤\ufe0f\U000f0001'),
    ),
    max_size=60,
)


@given(ANY)
def test_folding_gives_what_an_index_can_hold(text: str) -> None:
    """Folded texts encode as UTF-8, have no NUL and no mark of the index, however accents are written."""
    folded = fold(text)
    assert folded.encode().decode() == folded
    assert "\0" not in folded
    assert all(ord(character) < 0xF0000 for character in folded)
    assert folded == fold(unicodedata.normalize("NFC", text)) == fold(composed(text))


@given(ANY, ANY)
def test_anything_is_a_query_or_a_mistake(query: str, text: str) -> None:
    """Whatever is searched for in whatever: an `InputError`, or an answer, and a snippet of that very text."""
    try:
        parsed = parse(query)
    except InputError:
        return
    assert parsed.wanted
    found = match(parsed, Text(text, "message", "s", NOW))
    if found is not None:
        assert 0 < found.score < 2
        shown = snippet(parsed, text)
        assert shown.text in composed(text)
        assert len(shown.text) <= SNIPPET_CHARS_MAX
        assert any(piece.is_match for piece in shown.pieces)
        assert all(piece.text for piece in shown.pieces)


@given(ANY, ANY, ANY)
def test_every_stretch_of_a_text_finds_it(before: str, inside: str, after: str) -> None:
    """A quoted stretch between spaces is found, and so is an unquoted one of three characters or more."""
    text = f"{before} {inside} {after}"
    for query in (f'"{inside.replace(chr(34), " ")}"', inside):
        try:
            parsed = parse(query)
        except InputError:
            continue
        if not parsed.unwanted and "*" not in inside:
            assert parsed.matches(fold(text)), query


@given(st.text("ab -\"*'", max_size=30), st.text("ab ", max_size=20))
def test_not_is_the_opposite(query: str, text: str) -> None:
    """What a term finds, its negation leaves out."""
    try:
        parsed = parse(query)
    except InputError:
        return
    folded = fold(text)
    for term in parsed.wanted:
        assert TextQuery((term,)).matches(folded) != TextQuery((), (term,)).matches(folded)


@given(ANY, st.data())
def test_places_in_folded_texts(text: str, data: st.DataObject) -> None:
    """A place in the folded text is found again in the text, whatever became longer or shorter on the way."""
    whole = composed(text)
    folded = fold(whole)
    offset = data.draw(st.integers(0, len(folded)))
    place = place_in(whole, offset)
    assert len(fold(whole[:place])) <= offset
    assert offset == len(folded) or len(fold(whole[: place + 1])) > offset


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ('order "a b" pre* -no -"a c" xy', ["part", "phrase", "prefix", "word", "phrase", "word"]),
        ("“typographic quotes”", ["phrase"]),
        ('"open', ["phrase"]),
        ("--verbose", ["part"]),
        ("a-b -c", ["part", "word"]),
        ("order order ORDER", ["part"]),
        ("日 日本 ab日", ["part", "part", "part"]),
    ],
)
def test_kinds_of_terms(query: str, kinds: list[str]) -> None:
    """Words, short words, phrases and prefixes, wanted and unwanted, each once."""
    parsed = parse(query)
    assert sorted(term.kind for term in (*parsed.wanted, *parsed.unwanted)) == sorted(kinds)


def test_long_queries_are_refused() -> None:
    """Neither a long text nor many terms make a search expensive."""
    for text in ("x" * 1_001, " ".join(f"w{number}" for number in range(33))):
        with pytest.raises(LimitExceededError):
            parse(text)


def test_a_snippet_of_a_hostile_text() -> None:
    """Of a text of a million characters, all of them matches, a snippet is made at once."""
    parsed = parse("aaa* a b")
    text = "a " * 500_000 + "b aaab"
    shown = snippet(parsed, text)
    assert len(shown.text) <= SNIPPET_CHARS_MAX
    assert shown.cut_before


@pytest.mark.parametrize("text", ["word e\u0301", "word \u0958", "word " + "e\u0301" * SNIPPET_CHARS_MAX])
def test_what_a_snippet_leaves_out(text: str) -> None:
    """A snippet says that text was left out if it was, not if letters were only put together or taken apart."""
    shown = snippet(parse("word"), text)
    assert shown.cut_after == (shown.text != unicodedata.normalize("NFC", text))


def test_a_snippet_of_a_text_that_is_searched_in_part() -> None:
    """Of a text too long to be searched as a whole something was left out, even if all that was searched is shown."""
    text = "word".rjust(SEARCHED_CHARS_MAX) + "more"
    assert snippet(parse("word"), text).cut_after
