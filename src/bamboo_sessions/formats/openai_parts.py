"""The content of an OpenAI chat message: text, or a list of parts. What has no counterpart here is left out."""

from __future__ import annotations

from typing import Any

from bamboo_sessions.domain.message import AudioPart, FilePart, ImagePart, Part, TextPart

_AUDIO_URL = "data:audio/{format};base64,"


def to_content(content: object) -> str | tuple[Part, ...]:
    """The content of a message; empty for null and for what isn't content at all."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [_to_part(item) for item in content if isinstance(item, dict)]
    return tuple(part for part in parts if part is not None)


def as_list(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """OpenAI's content as a list of parts."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def from_content(content: str | tuple[Part, ...]) -> str | list[dict[str, Any]]:
    """OpenAI's form of `content`."""
    return content if isinstance(content, str) else [_from_part(part) for part in content]


def _to_part(item: dict[str, Any]) -> Part | None:
    match item:
        case {"text": str(text)} | {"refusal": str(text)}:
            return TextPart(text)
        case {"image_url": {"url": str(url), **others}}:
            return ImagePart(url, detail=_text(others.get("detail")))
        case {"input_audio": {"data": str(data), "format": str(kind)}}:
            return AudioPart(_AUDIO_URL.format(format=kind) + data, media_type=f"audio/{kind}")
        case {"file": {"file_data": str(data), **others}}:
            return FilePart(data, name=_text(others.get("filename")))
        case {"file": {"file_id": str(id)}}:
            return FilePart(id)
        case _:
            return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _from_part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=url, detail=detail):
            return {
                "type": "image_url",
                "image_url": {"url": url} if detail is None else {"url": url, "detail": detail},
            }
        case AudioPart():
            return _from_audio(part)
        case FilePart(url=url, name=name) if url.startswith("data:"):
            file = {"file_data": url}
            return {"type": "file", "file": file if name is None else {**file, "filename": name}}
        case FilePart(url=url):
            return {"type": "file", "file": {"file_id": url}}


def _from_audio(part: AudioPart) -> dict[str, Any]:
    """Sound in a data URL as OpenAI takes it; for any other place its transcript, or its address."""
    kind = (part.media_type or "").removeprefix("audio/")
    prefix = _AUDIO_URL.format(format=kind)
    if kind and part.url.startswith(prefix):
        return {"type": "input_audio", "input_audio": {"data": part.url[len(prefix) :], "format": kind}}
    return {"type": "text", "text": part.transcript or part.url}
