"""Finds the answer in what a model of one's own wrote: in fences, after its thoughts, between prose, in other capitals.

OpenAI's models answer with the bare JSON object that the schema asks for. Models on local servers mean the same and
write more around it; what fits the schema is taken, and nothing is guessed beyond upper and lower case.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)

_THOUGHTS: Final = re.compile(r"<(think|thinking|thought|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_CLOSED_THOUGHTS: Final = re.compile(r"\A.*</(think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)
_PLACES: Final = ("content", "reasoning_content", "reasoning")
_MOST_TRIES: Final = 200


def answer_in(body: str, schema: type[Schema]) -> Schema | None:
    """Return the answer in the body of a chat completion; None where nothing in it fits the schema."""
    try:
        message = json.loads(body)["choices"][0]["message"]
        texts = [message.get(place) for place in _PLACES]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    for text in texts:
        found = fitting_in(text, schema) if isinstance(text, str) else None
        if found is not None:
            return found
    return None


def fitting_in(text: str, schema: type[Schema]) -> Schema | None:
    """Return the last JSON object in a text that fits the schema: models correct themselves further on."""
    for part in (_CLOSED_THOUGHTS.sub("", _THOUGHTS.sub("", text)), text):
        found = [each for each in (_fitted(value, schema) for value in _objects(part)) if each is not None]
        if found:
            return found[-1]
    return None


def _objects(text: str) -> Iterator[Any]:
    """Yield the JSON objects in a text, the outermost ones only."""
    decoder, at = json.JSONDecoder(), 0
    for _ in range(_MOST_TRIES):
        at = text.find("{", at)
        if at < 0:
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield value


def _fitted(value: Any, schema: type[Schema]) -> Schema | None:
    try:
        return schema.model_validate(_in_words_of(value, schema))
    except (ValidationError, RecursionError):
        return None


def _in_words_of(value: Any, kind: Any) -> Any:
    """Return a value with its texts in the capitals that a type asks for."""
    if get_origin(kind) is Literal and isinstance(value, str):
        plain = value.strip().lower()
        return next((each for each in get_args(kind) if str(each).lower() == plain), value)
    if get_origin(kind) is list and isinstance(value, list):
        return [_in_words_of(each, get_args(kind)[0]) for each in value]
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
        fields = {name.lower(): (name, field.annotation) for name, field in kind.model_fields.items()}
        made = {}
        for name, each in value.items():
            ours, annotation = fields.get(str(name).lower(), (name, None))
            made[ours] = _in_words_of(each, annotation)
        return made
    return value
