"""What was acknowledged, as lines of a log that a writer keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec


class _Acknowledged(msgspec.Struct, frozen=True, omit_defaults=True):
    session_id: str
    writer: str


class TurnAcknowledged(_Acknowledged, frozen=True, tag="turn"):
    """One commit that added messages: a save, a checkpoint or an append. `message_ids` in the order given."""

    message_ids: tuple[str, ...]


class ChangeAcknowledged(_Acknowledged, frozen=True, tag="change"):
    """A person's change: `what` is `"title"`, `"pinned"`, `"archived"` or `"value:<key>"`.

    `metadata_version` is the one that the call returned. The changes that one `writer` makes to one session must be
    noted in the order in which they were made.
    """

    what: str
    value: Any
    metadata_version: int


class QuestionAcknowledged(_Acknowledged, frozen=True, tag="question"):
    """A question that was asked."""

    question_id: str


class AnswerAcknowledged(_Acknowledged, frozen=True, tag="answer"):
    """An answer that was accepted, and the id of the tool message that carries it."""

    question_id: str
    answer: str
    message_id: str


class RemovalAcknowledged(_Acknowledged, frozen=True, tag="removal"):
    """Messages that were taken out on purpose."""

    message_ids: tuple[str, ...]


class DeletionAcknowledged(_Acknowledged, frozen=True, tag="deletion"):
    """A session that was deleted and not created again."""


Acknowledgement = (
    TurnAcknowledged
    | ChangeAcknowledged
    | QuestionAcknowledged
    | AnswerAcknowledged
    | RemovalAcknowledged
    | DeletionAcknowledged
)

_decoder: Final = msgspec.json.Decoder[Acknowledgement](Acknowledgement)


def to_line(acknowledgement: Acknowledgement) -> bytes:
    """One JSON line, its end included. Write it in one call: then a killed writer leaves at most the last one torn."""
    return msgspec.json.encode(acknowledgement) + b"\n"


def read_lines(lines: Iterable[bytes]) -> Iterator[Acknowledgement]:
    """The acknowledgements in a log. A last line without its end was never finished, and is left out.

    Raises `msgspec.DecodeError` (a `ValueError`) for a whole line that is none.
    """
    for line in lines:
        if line.endswith(b"\n") and not line.isspace():
            yield _decoder.decode(line)
