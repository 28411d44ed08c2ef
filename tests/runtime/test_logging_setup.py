"""What the log promises: one line an event, no secret, no forged line, no flood, no endless file."""

import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.runtime import logging_setup
from src.runtime.console import Console
from src.runtime.logging_setup import LineFormatter, LogHandler, Redactor, RepeatFilter, Sink

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(autouse=True)
def _own_redactor(monkeypatch):
    monkeypatch.setattr(logging_setup, "_REDACTOR", Redactor())


def record(message, *args, level=logging.INFO, at_s=1000.0, name="trader", error=None):
    made = logging.LogRecord(name, level, __file__, 1, message, args, (type(error), error, None) if error else None)
    made.created = at_s
    return made


def written(gate, *records):
    return [line.getMessage() for each in records for line in gate.admit(each)]


def test_a_line_names_instant_level_room_and_event():
    line = LineFormatter().format(record("order filled: symbol=%s", "BTCUSDT", at_s=1_700_000_000.25))
    assert line == "2023-11-14T22:13:20.250Z INFO trader: order filled: symbol=BTCUSDT"


def test_json_lines_are_one_object_each():
    line = LineFormatter(as_json=True).format(record("two\nlines \x1b[31m", error=ValueError("no\nway")))
    event = json.loads(line)
    assert "\n" not in line
    assert "\x1b" not in line
    assert (event["level"], event["logger"], event["event"]) == ("INFO", "trader", "two\nlines \x1b[31m")
    assert "no\nway" in event["exception"]


@given(st.text())
def test_no_text_can_forge_a_second_line_or_colour_the_terminal(text):
    line = LineFormatter().format(record("headline: %s", text))
    assert len(line.splitlines()) == 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


def test_a_traceback_stays_on_its_line():
    try:
        raise ValueError("broken")
    except ValueError as error:
        made = logging.LogRecord(
            "x", logging.ERROR, "", 1, "round failed", (), (type(error), error, error.__traceback__)
        )
    line = LineFormatter().format(made)
    assert "\n" not in line
    assert "round failed | Traceback (most recent call last): | File" in line
    assert line.endswith("ValueError: broken")


@pytest.mark.parametrize("as_json", [False, True])
def test_known_secrets_are_hidden_also_url_encoded_and_in_tracebacks(as_json):
    logging_setup.hide("Sec/ret+Key==", "abc")
    made = record("key=%s", "Sec/ret+Key==", error=RuntimeError("GET /x?k=Sec%2Fret%2BKey%3D%3D abc"))
    line = LineFormatter(as_json).format(made)
    assert "ret+Key" not in line
    assert "ret%2BKey" not in line
    assert "abc" in line  # too short to be blanked out of every word


@pytest.mark.parametrize(
    "text",
    [
        "GET /fapi/v1/order?symbol=BTCUSDT&signature=VALUE",
        "wss://host/private/ws?listenKey=VALUE&events=ORDER_TRADE_UPDATE",
        "headers={'X-MBX-APIKEY': 'VALUE', 'Accept': '*/*'}",
        'body={"listenKey": "VALUE"}',
        "Authorization: Bearer VALUE",
        "api_key=VALUE, secret=VALUE",
        "PIN=VALUE",
    ],
)
def test_what_is_named_like_a_secret_is_hidden_unknown(text):
    line = LineFormatter().format(record("%s", text.replace("VALUE", "3f9a7c41d2")))
    assert "3f9a7c41d2" not in line
    assert logging_setup.HIDDEN in line


def test_usual_facts_are_not_hidden():
    text = "tokens=1200 symbol=BTCUSDT pinned=2 keys=3 client_id=b1-BTCUSDT-x-e0"
    assert logging_setup.printable(text) == text


def test_an_outage_is_a_few_lines_and_a_summary():
    gate = RepeatFilter(limit=3, window_s=60)
    outage = [record("exchange unavailable: %s", n, level=logging.WARNING, at_s=1000.0 + n) for n in range(50)]
    lines = written(gate, *outage, record("back again", at_s=1061.0))
    assert lines == [
        "exchange unavailable: 0",
        "exchange unavailable: 1",
        "exchange unavailable: 2",
        "repeated 47 times more in 60 s: exchange unavailable: 49",
        "back again",
    ]


def test_different_facts_are_no_flood_below_warning():
    gate = RepeatFilter(limit=1)
    assert len(written(gate, *[record("order filled: %s", n) for n in range(20)])) == 20
    assert len(written(gate, *[record("same") for _ in range(20)])) == 1


def test_different_kinds_of_error_do_not_hide_each_other():
    gate = RepeatFilter(limit=1)
    first = record("round failed", level=logging.ERROR, error=ValueError("a"))
    second = record("round failed", level=logging.ERROR, error=KeyError("b"))
    assert len(written(gate, first, second, first, second)) == 2


def test_suppressed_lines_are_summarised_at_the_end(tmp_path):
    with open(tmp_path / "log", "a") as stream:
        handler = LogHandler([Sink(stream, logging.INFO, None, 10_000, 1)], RepeatFilter(limit=1))
        for _ in range(5):
            handler.handle(record("again", level=logging.WARNING))
        handler.close()
    assert "repeated 4 times more" in (tmp_path / "log").read_text()


def test_a_log_file_is_cut_and_only_so_many_old_ones_are_kept(tmp_path):
    file = tmp_path / "rl_bot_main.log"
    with open(file, "a") as stream:
        sink = Sink(stream, logging.INFO, file, max_bytes=1000, backups=2)
        for number in range(400):
            sink.write(f"line {number:03d}")
    assert {each.name for each in tmp_path.iterdir()} == {file.name, f"{file.name}.1", f"{file.name}.2"}
    assert all(each.stat().st_size <= 1000 for each in tmp_path.iterdir())
    newest = "".join((tmp_path / name).read_text() for name in (f"{file.name}.2", f"{file.name}.1", file.name))
    numbers = [int(line.split()[1]) for line in newest.splitlines()]
    assert numbers == list(range(numbers[0], 400))


def test_a_full_disk_or_a_wrong_format_string_does_not_stop_the_program(tmp_path, capsys):
    with open("/dev/full", "a") as stream:
        handler = LogHandler([Sink(stream, logging.INFO, None, 10_000, 1)], RepeatFilter())
        handler.handle(record("x" * 100_000))
        handler.handle(record("%d", "no number"))
        handler._sinks.clear()
    assert "No space left" in capsys.readouterr().err


PROGRAM = """
import logging, sys
from pathlib import Path
from src.runtime.logging_setup import configure_logs
from src.runtime.settings import Settings
settings = Settings.load(Path(sys.argv[1]))
configure_logs(settings)
logging.getLogger("trader").info("a fact: key=%s", settings.openai_api_key.get_secret_value())
logging.getLogger("trader").warning("a warning")
for number in range(int(sys.argv[2])):
    logging.getLogger("trader").info("line %d", number)
"""


def run_program(tmp_path, lines, **streams):
    env_file = tmp_path / "env"
    env_file.write_text(f"OPENAI_API_KEY=canary-4711\nLOG_DIR={tmp_path}\nLOG_MAX_MB=0.01\nLOG_BACKUPS=2\n")
    command = [sys.executable, "-c", PROGRAM, str(env_file), str(lines)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=30, **streams)


def test_main_and_error_log_are_apart_as_the_scripts_open_them(tmp_path):
    with open(tmp_path / "bot_main.log", "a") as out, open(tmp_path / "bot_error.log", "a") as err:
        run_program(tmp_path, 2000, stdout=out, stderr=err)
    assert (tmp_path / "bot_error.log").read_text().strip().endswith("WARNING trader: a warning")
    main_logs = sorted(tmp_path.glob("bot_main.log*"))
    assert len(main_logs) == 3
    assert all(file.stat().st_size <= 10_000 for file in main_logs)
    assert "line 1999" in (tmp_path / "bot_main.log").read_text()
    assert all("canary-4711" not in file.read_text() for file in tmp_path.glob("*.log*"))


def test_one_file_for_both_streams_gets_each_line_once(tmp_path):
    with open(tmp_path / "both.log", "a") as out:
        run_program(tmp_path, 1, stdout=out, stderr=out)
    assert (tmp_path / "both.log").read_text().count("a warning") == 1


def test_the_console_is_plain_log_lines_off_a_terminal(caplog):
    console = Console(logging.getLogger("bot"), terminal=False)
    with caplog.at_level(logging.INFO):
        console.rule()
        console.say("Trading Cycle #45", icon="🔄")
        console.gap()
    assert caplog.messages == ["Trading Cycle #45"]


def test_the_console_shows_icons_but_no_secret_and_no_markup_on_a_terminal(capsys):
    logging_setup.hide("canary-4711")
    console = Console(logging.getLogger("bot"), terminal=True)
    console.rule()
    console.say("[red]headline[/red] \x1b[2J canary-4711", icon="🔄")
    shown = capsys.readouterr().out
    assert "=" * 60 in shown
    assert "🔄 [red]headline[/red] \\x1b[2J [hidden]" in shown
