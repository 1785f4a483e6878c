"""Searching: folding, the query language, snippets."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import InputError, LimitExceededError
from bamboo_sessions.domain.head import SessionHead, Summary
from bamboo_sessions.domain.limits import SEARCH_WORDS_MAX, SEARCHED_CHARS_MAX, SNIPPET_CHARS_MAX
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.search import Place
from bamboo_sessions.domain.search_match import (
    Match,
    Text,
    _at_word,
    _best_start,
    best,
    match,
    snippet,
    texts_of_head,
    texts_of_message,
)
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
    text = "word".rjust(SEARCHED_CHARS_MAX)
    assert not snippet(parse("word"), text).cut_after
    assert snippet(parse("word"), text + "more").cut_after


# --- borders that mutants have shown


def _text(text: str, place: Place = "message", message_id: str | None = "m") -> Text:
    return Text(text, place, "s", NOW, message_id)


def _match(query: str, text: Text) -> Match:
    found = match(parse(query), text)
    assert found is not None
    return found


def test_a_score_by_hand() -> None:
    """In a text of typical length one whole word gives half of the place's weight, and one for being whole."""
    typical = _text("word" + "." * 496)
    assert _match("word", typical).score == pytest.approx(1 + 0.7 / 2)
    assert _match("wor", typical).score == pytest.approx(0.7 / 2)
    assert _match("wor word", typical).score == pytest.approx(0.7 / 2)
    assert _match("word", _text("word" + "." * 996)).score == pytest.approx(1 + 0.7 / 2.5)
    assert _match("word", _text("." * 29_996 + "word")).score == pytest.approx(1 + 0.7 / (1 + 0.5 + 30))


@pytest.mark.parametrize(("place", "weight"), [("title", 1.0), ("summary", 0.8), ("message", 0.7), ("tool_call", 0.5)])
def test_a_place_has_its_weight(place: Place, weight: float) -> None:
    """A find in a title counts for more than one in a text, and that for more than one in a tool's arguments."""
    assert _match("word", _text("word" + "." * 496, place)).score == pytest.approx(1 + weight / 2)


def test_whole_words_are_told_apart() -> None:
    """A match knows whether all of it was found as whole words."""
    assert _match("word", _text("word")).is_whole
    assert not _match("ord word", _text("word")).is_whole
    assert not _match("ord", _text("word")).is_whole


def test_equals_are_ranked_by_message() -> None:
    """Between equal matches of one time the id decides; what is no message has none."""
    one, other = (_match("word", _text("word", message_id=id)) for id in "ab")
    assert [found.text.message_id for found in best([one, other], 9)[0]] == ["b", "a"]
    assert _match("word", _text("word", "title", None)).rank[3] == ""


def test_title_and_summary_are_two_finds() -> None:
    """A session whose title and summary match is found twice, a message with two texts once."""
    matches = [_match("word", _text("word", place, None)) for place in ("title", "summary")]
    matches += [_match("word", _text("word", place)) for place in ("message", "tool_call")]
    found, more = best(matches, 3)
    assert [each.text.place for each in found] == ["title", "summary", "message"]
    assert not more


def test_the_texts_of_a_session() -> None:
    """Empty texts aren't there; the calls of a message are one text, each on a line."""
    head = SessionHead(id="s", root_session_id="s", created_at=NOW, updated_at=NOW, summary=Summary("", "m"))
    assert list(texts_of_head(head)) == []
    assert [each.place for each in texts_of_message(Message.user("u"), "s")] == ["message"]
    calls = [ToolCall("1", "f", {"a": 1}), ToolCall("2", "g", {})]
    (text,) = texts_of_message(Message.assistant("", calls), "s")
    assert text.text == 'f {"a":1}\ng {}'


def test_a_snippet_begins_at_a_word() -> None:
    """A snippet shows the stretch with most terms, from the beginning of a word some way before the first."""
    text = "alpha " + "filler " * 100 + "alpha beta " + "filler " * 100
    shown = snippet(parse("alpha beta"), text)
    assert [piece.text for piece in shown.pieces if piece.is_match] == ["alpha", "beta"]
    assert shown.text.startswith("filler ")
    assert (shown.cut_before, shown.cut_after) == (True, True)
    lead = shown.text.index("alpha")
    assert SNIPPET_CHARS_MAX // 4 - len("filler ") <= lead <= SNIPPET_CHARS_MAX // 4
    whole = snippet(parse("absent"), "some text")
    assert (whole.text, whole.cut_before, whole.cut_after) == ("some text", False, False)


def test_a_snippet_prefers_whole_words() -> None:
    """Where a word stands alone is shown, not where it is part of another one; all of it is marked."""
    text = "reordering " + "filler " * 100 + "order orderly"
    shown = snippet(parse("order"), text)
    assert "reordering" not in shown.text
    assert [piece.text for piece in shown.pieces] == [shown.text.partition("order")[0], "order", " ", "order", "ly"]
    only_part = snippet(parse("rderin"), "filler " * 100 + "reordering")
    assert [piece.text for piece in only_part.pieces if piece.is_match] == ["rderin"]


def test_matches_that_touch_are_shown_once() -> None:
    """Terms that overlap give pieces without a gap, and none that is empty."""
    shown = snippet(parse("abcd bcd bcde"), "abcde")
    assert [(piece.text, piece.is_match) for piece in shown.pieces] == [("abcd", True), ("e", True)]
    assert snippet(parse("word"), "word " * 200).pieces[-1].text


def test_a_query_that_is_refused_says_why() -> None:
    """Only unwanted words, and no words at all, are two mistakes; a term counts as one word, a phrase as its words."""
    with pytest.raises(InputError, match="only says what not to find"):
        parse("-draft")
    with pytest.raises(InputError, match="has no word"):
        parse("->")
    parse(" ".join(f"w{number}" for number in range(SEARCH_WORDS_MAX)))
    with pytest.raises(LimitExceededError, match="words"):
        parse('"' + " ".join(f"w{number}" for number in range(SEARCH_WORDS_MAX + 1)) + '"')


def test_a_letter_at_the_end_of_a_prefix_stays() -> None:
    """Only stars end a prefix, whatever letters stand before them."""
    assert [term.text for term in parse("maX* X").wanted] == ["max", "x"]


def test_characters_that_no_index_holds() -> None:
    """NUL is a space, lone surrogates and private planes become the replacement character, beside ASCII or not."""
    assert fold("a\0b") == "a b"
    assert fold("é\0b") == "e b"
    assert fold("é \ud800\U000f0000") == "e \ufffd\ufffd"
    assert fold("e\u0301 x") == "e x"


def test_only_the_beginning_of_long_texts_is_searched() -> None:
    """A composed text is cut where searching ends."""
    assert len(composed("é" * (SEARCHED_CHARS_MAX + 1))) == SEARCHED_CHARS_MAX
    assert composed("e\u0301") == "é"


def test_places_in_long_texts() -> None:
    """A place in a folded text is found behind any number of characters that fold to more or fewer ones."""
    text = "ß" * 10_000 + "x"
    folded = fold(text)
    assert place_in(text, folded.index("x")) == 10_000
    assert place_in(text, 9_001) == 4_500
    assert place_in(text, 2 * 4_096) == 4_096
    assert place_in(text, len(folded)) == len(text)


def test_wide_characters_need_nothing_between() -> None:
    """A phrase of a script without spaces is found beside letters, and as one with them."""
    assert _match('"日本"', _text("日本x")).score > 0
    assert _match('"日本x"', _text("日本x")).score > 0
    assert match(parse('"ab x"'), _text("abx")) is None


def test_the_stretch_with_most_terms() -> None:
    """The best stretch begins at a term and counts each term once that is in it up to its very end."""
    assert _best_start([(0, 5, 0), (10, 15, 1), (500, 505, 2)]) == 0
    assert _best_start([(0, 5, 0), (190, 195, 1), (1000, 1005, 0), (1100, 1105, 1)]) == 1000
    assert _best_start([(0, 1, 0), (1000, 1005, 0), (1140, 1150, 1)]) == 1000
    assert _best_start([]) == 0


def test_the_next_beginning_of_a_word() -> None:
    """A stretch begins at a word from its place on, at the latest with the match; else right at its place."""
    assert _at_word(" bcd e", 2, 5) == 5
    assert _at_word("abc d", 1, 4) == 4
    assert _at_word("abcd e", 1, 4) == 1
    assert snippet(parse("word"), " " + "a" * 49 + " word").cut_before


def test_only_whole_words_are_counted_where_there_are_any() -> None:
    """A word that is there as a whole isn't scored higher for being part of others."""
    assert _match("word", _text("word wordy" + "." * 490)).score == pytest.approx(1 + 0.7 / 2)
