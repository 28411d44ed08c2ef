"""A stand-in of Telegram's Bot API on loopback: checks each request as the real one does, and fails as it does.

``say`` and ``press`` let a user write and press; ``sent`` is what the bot sent. ``outage`` answers 502 to everything,
``flood`` asks the next messages to wait.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "123456:" + "stand-in-token-" * 2
_BOT = {"id": 123456, "is_bot": True, "first_name": "bot", "username": "suite_bot"}


@dataclass
class Sent:
    """One message of the bot as it stands in the chat."""

    id: int
    chat_id: int
    text: str
    buttons: dict[str, str] = field(default_factory=dict)
    photo: bool = False
    edits: int = 0


class TelegramStandIn:
    """One bot's side of Telegram."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.confirmed: list[str] = []
        self.outage = False
        self.flood = 0
        self.retry_after_s = 3
        self.repeat_updates = False
        self._updates: list[dict[str, Any]] = []
        self._next_update = 1_000
        self._next_message = 1
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The base address of the Bot API."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End the server."""
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def say(self, user: int, text: str, *, ago_s: float = 0.0, kind: str = "private", edited: bool = False) -> int:
        """Let a user write to the bot; return the update's number."""
        chat = {"id": user if kind == "private" else -100, "type": kind}
        message = {
            "message_id": self._message_id(),
            "date": int(time.time() - ago_s),
            "chat": chat,
            "from": _person(user),
            "text": text,
        }
        return self._add({"edited_message" if edited else "message": message | ({"edit_date": 1} if edited else {})})

    def press(self, user: int, label: str) -> int:
        """Let a user press a button of the newest message in their chat that has it."""
        shown = next(each for each in reversed(self.sent) if each.chat_id == user and label in each.buttons)
        return self.press_data(user, shown.buttons[label], shown.id)

    def press_data(self, user: int, data: str, message_id: int = 1) -> int:
        """Let a press with this content come in."""
        chat = {"id": user, "type": "private"}
        shown = {"message_id": message_id, "date": int(time.time()), "chat": chat, "from": _BOT, "text": "x"}
        press = {"id": f"press-{self._next_update}", "from": _person(user), "chat_instance": "1", "data": data}
        return self._add({"callback_query": press | {"message": shown}})

    def type_pin(self, user: int, pin: str) -> None:
        """Press the digits and confirm, each where the newest message shows it."""
        for key in (*pin, "Confirm"):
            self.press(user, key)

    def repeat(self, update_id: int) -> None:
        """Deliver an update a second time, under its old number."""
        with self._changed:
            self._updates.append(next(each for each in self._history if each["update_id"] == update_id))

    def texts(self, user: int) -> list[str]:
        """Return what stands in a user's chat, oldest first."""
        return [each.text for each in self.sent if each.chat_id == user]

    _history: list[dict[str, Any]]

    def _add(self, content: dict[str, Any]) -> int:
        with self._changed:
            update = {"update_id": self._next_update} | content
            self._next_update += 1
            self._updates.append(update)
            self._history = [*getattr(self, "_history", []), update]
            self._changed.notify_all()
            return int(update["update_id"])

    def _message_id(self) -> int:
        with self._changed:
            self._next_message += 1
            return self._next_message

    def answer(self, token: str, method: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of one call."""
        if self.outage:
            return 502, {"ok": False, "error_code": 502, "description": "Bad Gateway"}
        if token != TOKEN:
            return 404, {"ok": False, "error_code": 404, "description": "Not Found"}
        self.calls.append((method, asked))
        if method.startswith(("send", "edit")) and self.flood:
            self.flood -= 1
            wait = {"retry_after": self.retry_after_s}
            return 429, {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": wait}
        known = {
            "getUpdates": self._get_updates,
            "sendMessage": self._send,
            "sendPhoto": self._send,
            "editMessageText": self._edit,
            "answerCallbackQuery": self._confirm,
        }.get(method)
        if known is None:
            return 404, {"ok": False, "error_code": 404, "description": f"no such method {method}"}
        try:
            return 200, {"ok": True, "result": known(asked)}
        except ValueError as error:
            return 400, {"ok": False, "error_code": 400, "description": f"Bad Request: {error}"}

    def _get_updates(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        offset, deadline = int(asked.get("offset", 0)), time.monotonic() + min(float(asked.get("timeout", 0)), 0.3)
        with self._changed:
            while True:
                if not self.repeat_updates:
                    self._updates = [each for each in self._updates if each["update_id"] >= offset or "again" in each]
                found = list(self._updates)
                left_s = deadline - time.monotonic()
                if found or left_s <= 0:
                    return found[:100]
                self._changed.wait(left_s)

    def _send(self, asked: dict[str, Any]) -> dict[str, Any]:
        text = str(asked.get("text") or asked.get("caption") or "")
        if not text or len(text) > 4096:
            raise ValueError("message text is empty or too long")
        made = Sent(self._message_id(), int(asked["chat_id"]), text, _buttons(asked), "photo" in asked)
        self.sent.append(made)
        return self._shown(made)

    def _edit(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = next((each for each in self.sent if each.id == int(asked["message_id"])), None)
        if made is None:
            raise ValueError("message to edit not found")
        if (made.text, made.buttons) == (str(asked["text"]), _buttons(asked)):
            raise ValueError("message is not modified")
        made.text, made.buttons, made.edits = str(asked["text"]), _buttons(asked), made.edits + 1
        return self._shown(made)

    def _confirm(self, asked: dict[str, Any]) -> bool:
        self.confirmed.append(str(asked["callback_query_id"]))
        return True

    def _shown(self, made: Sent) -> dict[str, Any]:
        chat = {"id": made.chat_id, "type": "private"}
        return {"message_id": made.id, "date": int(time.time()), "chat": chat, "from": _BOT, "text": made.text}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                _, bot, method = self.path.partition("?")[0].split("/", 2)
                kind = self.headers.get("Content-Type", "")
                status, answer = stand_in.answer(bot.removeprefix("bot"), method, _fields(kind, body))
                sent = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def _person(user: int) -> dict[str, Any]:
    return {"id": user, "is_bot": False, "first_name": "somebody"}


def _fields(kind: str, body: bytes) -> dict[str, Any]:
    if kind.startswith("application/json"):
        return dict(json.loads(body))
    if kind.startswith("multipart/form-data"):
        return _parts(kind.partition("boundary=")[2].encode(), body)
    return dict(parse_qsl(body.decode()))


def _parts(boundary: bytes, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        found[name] = content if b"filename=" in head else content.decode()
    return found


def _buttons(asked: dict[str, Any]) -> dict[str, str]:
    markup = asked.get("reply_markup")
    rows = json.loads(markup)["inline_keyboard"] if markup else []
    found = {each["text"]: each["callback_data"] for row in rows for each in row}
    if any(not 1 <= len(data.encode()) <= 64 for data in found.values()):
        raise ValueError("BUTTON_DATA_INVALID")
    return found
