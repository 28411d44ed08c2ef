"""The rules of the layout: which package may import which, and what no module may do, held against all of ``src``.

Each failure says what to do. Where a law has exceptions, they are named here with their reason, and nowhere else.
"""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

MAY_IMPORT = {  # package: the packages that it may import beside itself (docs/architecture.md explains the table)
    "domain": set(),
    "strategy": {"domain"},
    "execution": {"domain", "strategy"},
    "runtime": {"domain", "strategy"},  # strategy: the rule loader returns the rules
    "exchanges": {"domain", "runtime"},
    "paper_exchange": {"domain"},
    "market_data": {"domain"},
    "storage": {"domain", "strategy", "execution", "runtime"},
    "reporting": {"domain", "strategy", "storage", "runtime"},
    "llm": {"domain", "strategy", "storage", "runtime"},
    "news": {"domain", "strategy", "storage", "runtime", "llm"},
    "charts": {"domain", "strategy", "storage", "runtime", "llm", "reporting"},
    "context": {"domain", "strategy", "storage", "runtime", "charts", "exchanges"},
    "review": {"domain", "storage", "runtime", "reporting"},
    "monitoring": {"domain", "storage", "runtime", "reporting"},
    "chat": {"domain", "strategy", "storage", "runtime", "reporting", "monitoring"},
    "agents": {"domain", "storage", "runtime", "reporting", "monitoring", "llm"},
    "api": {"domain", "strategy", "storage", "runtime", "reporting", "monitoring", "agents"},
    "dashboard": {"domain", "strategy", "storage", "runtime", "reporting", "monitoring", "review"},
    "training": {"domain", "strategy", "execution", "storage", "runtime", "market_data", "backtest"},
    "backtest": {
        "domain",
        "strategy",
        "execution",
        "runtime",
        "market_data",
        "paper_exchange",
        "training",
        "reporting",
        "charts",  # with news and storage: replays what analysts and news say of the past, into the forecast ledger
        "context",  # the market regime of the past, by the live rules
        "news",
        "storage",
    },
    "apps": None,  # everything: each process is put together here
    "tools": {"agents"},
}
PURE = {"domain", "strategy"}
PROCESSES = {"trading_bot", "chart_analysis_bot", "web_dashboard", "mcp_server"}
USER_NAMES = PROCESSES | {
    *("binance_client", "market_context", "database", "rl_model", "indicators", "news_fetcher", "news_sentiment"),
    *("sentiment_local", "openai_analyzer", "chart_generator", "cache_manager", "circuit_breaker_state"),
}
LONGEST_FACE = 60
# fmt: off
PURE_MAY_IMPORT = {
    "abc", "array", "bisect", "collections", "copy", "dataclasses", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers", "numpy", "operator", "re",
    "statistics", "string", "struct", "tomllib", "types", "typing",
}
# fmt: on
PURE_PARTS = ("urllib.parse.", "html.", "unicodedata", "email.utils.")  # these only transform text
PURE_EXCEPTIONS = {  # room: what it may import beyond that, and why
    "domain.clock": {"time", "datetime", "threading"},  # the one module that reads the clock
    "domain.candle_sources": {"gzip", "zipfile", "zlib", "pyarrow"},  # unpacks the bytes that it is handed
    "domain.candle_text": {"csv"},
    "strategy.q_agent": {"os", "pathlib", "io", "zipfile", "zlib", "threading", "contextlib"},  # the agent saves itself
    "strategy.timeframes": {"logging"},  # reports a hole in the candles
    "strategy.q_checkpoint": {"os", "pathlib", "io", "zipfile", "zlib", "contextlib", "pickle", "tokenize"},
}
READS_ENVIRONMENT = {
    "runtime.settings",
    "paper_exchange.__main__",  # a foreign party, as Binance's own servers are: it does not know our settings
}
POSITIONAL = 5
CODES = range(1000, 10_000)  # the error codes of Binance, without their sign
READS_CLOCK = {"domain.clock"}
MAY_UNPICKLE = {"strategy.q_agent", "strategy.q_checkpoint"}  # `--migrate` alone, with an allow-list
CATCHES_ALL = {  # the edges that answer a stranger
    ("runtime.process", "run_process"),
    ("runtime.strategy_loader", "_run"),  # a user's strategy: whatever it raises is one sentence, and a HOLD
    ("storage.engine", "_write_batch"),  # told to the thread that queued the row
}
LONGEST_FILE = {
    "storage.tables": 640,  # a list of like things
}
HEAVY = {"pandas", "openai", "mplfinance", "matplotlib", "pyarrow", "numba", "ccxt", "talib", "ta", "optuna"}
LEAN = (
    *("trading_bot", "chart_analysis_bot", "web_dashboard", "mcp_server"),
    *("execution.trader", "api.rest", "storage.database", "exchanges.binance.client"),
)
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))  # what always runs, and what alerts and agents need beside it
MOVED_NAMES = {
    "dotenv": "python-dotenv",
    "binance": "python-binance",
    "talib": "ta-lib",
    "yaml": "pyyaml",
    "PIL": "pillow",
}


def name_of(path):
    """Return the dotted name of a module under src: ``core.clock``, ``paper_exchange`` for its ``__init__``."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SRC.rglob("*.py")) if path != SRC / "__init__.py"}
HOUSE = {name: path for name, path in MODULES.items() if name != "src" and not name.startswith("storage.migrations.")}


def law(check):
    """Turn the check of one module into a test of all of them; it fails with every offence, a line each."""

    def test():
        offences = []
        for name in HOUSE:
            try:
                check(name)
            except AssertionError as offence:
                offences.append(str(offence).split("\n")[0])
        if offences:
            pytest.fail("\n".join(offences), pytrace=False)

    test.__name__ = check.__name__
    return test


@cache
def tree(name):
    return ast.parse(MODULES[name].read_text(encoding="utf-8"), filename=str(MODULES[name]))


def nodes(name, kind):
    return [node for node in ast.walk(tree(name)) if isinstance(node, kind)]


def imported(name, top_level_only=False):
    """Return the dotted names that a module imports, also for types."""
    found = []
    for node in tree(name).body if top_level_only else ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{home(name, node)}.{alias.name}" for alias in node.names]
    return found


def home(name, node):
    """Return the absolute name of the module that a ``from`` names, also where it is written relatively."""
    if not node.level:
        return node.module
    inside = ["src", *name.split("."), ""] if MODULES[name].name == "__init__.py" else ["src", *name.split(".")]
    return ".".join([*inside[: -node.level], *filter(None, [node.module])])


def rooms_used(name, top_level_only=False):
    """Return the modules of the house that a module imports."""
    used = set()
    for each in imported(name, top_level_only):
        inner = each.removeprefix("src.")
        if inner == each:
            continue
        used |= {inner} & MODULES.keys() or {inner.rpartition(".")[0]} & MODULES.keys()
    return used - {name}


def first_line(name):
    return (ast.get_docstring(tree(name)) or "").split("\n")[0]


def package_of(name):
    """Return the package of a module; the names at the top of ``src`` belong to ``apps``, which sees everything."""
    return name.split(".")[0] if name.split(".")[0] in MAY_IMPORT else "apps"


def called(node):
    """Return the dotted name of what a call calls: ``pickle.load``."""
    return ast.unparse(node.func)


@law
def test_the_first_line_says_the_job(name):
    line = first_line(name)
    assert re.match(r"[A-Z`].{12,}", line), f"{MODULES[name]}: begin with one sentence that says its job ({line!r})"
    assert not line.startswith("Floor"), f"{MODULES[name]}: the package says where it belongs, not a floor."


@law
def test_imports_name_the_whole_way(name):
    relative = [f"{MODULES[name]}:{node.lineno}" for node in nodes(name, ast.ImportFrom) if node.level]
    assert not relative, f"{relative}: import as `from src.room import name`, not relatively."


@law
def test_imports_follow_the_table_of_packages(name):
    package = package_of(name)
    allowed = MAY_IMPORT[package]
    if allowed is None:
        return
    foreign = {used: package_of(used) for used in rooms_used(name) if package_of(used) not in allowed | {package}}
    assert not foreign, f"{name} imports {foreign}: hand it in as an argument, or change MAY_IMPORT with its reason."


def test_the_top_of_src_holds_the_names_that_users_call():
    top = {path.stem for path in SRC.glob("*.py")} - {"__init__", "src"}
    assert top == USER_NAMES, f"move {top - USER_NAMES} into a package; restore {USER_NAMES - top}"
    long = {name for name in top if len(MODULES[name].read_text(encoding="utf-8").splitlines()) > LONGEST_FACE}
    assert not long, f"{long}: what a process is made of belongs into src/apps"


def test_packages_are_those_of_the_table():
    packages = {path.parent.name for path in SRC.glob("*/__init__.py")}
    assert packages == MAY_IMPORT.keys(), "name each package in MAY_IMPORT with what it may import"


def test_no_public_class_stands_twice():
    places = {}
    for name in HOUSE:
        for node in tree(name).body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_":
                places.setdefault(node.name, []).append(name)
    twice = {each: names for each, names in places.items() if len(names) > 1}
    assert not twice, f"give each its own name: {twice}"


@law
def test_nobody_imports_a_process(name):
    processes = rooms_used(name) & USER_NAMES
    assert not processes, f"{name} imports {processes}: inside src import the module where the code lives."


def test_nothing_runs_in_a_circle_not_even_for_types():
    done, path = set(), []

    def walk(name):
        if name in path:
            pytest.fail("circle: " + " -> ".join([*path[path.index(name) :], name]) + ": split what both need off.")
        if name in done:
            return
        path.append(name)
        for used in sorted(rooms_used(name)):
            walk(used)
        path.pop()
        done.add(name)

    for name in HOUSE:
        walk(name)


@law
def test_domain_and_strategy_touch_nothing_outside(name):
    if package_of(name) not in PURE:
        return
    allowed = PURE_MAY_IMPORT | PURE_EXCEPTIONS.get(name, set()) | {"src"}
    foreign = {each.split(".")[0] for each in imported(name) if not f"{each}.".startswith(PURE_PARTS)} - allowed
    assert not foreign, (
        f"{name} imports {foreign}: domain and strategy see no network, disk, environment, clock or chance. "
        "Take what it needs as an argument."
    )
    for call in nodes(name, ast.Call):
        if called(call) == "open" and name not in PURE_EXCEPTIONS:
            raise AssertionError(f"{name}:{call.lineno} opens a file: let an adapter read it and hand over the text.")
        if re.match(r"(np|numpy)\.random\.(?!default_rng|Generator|PCG64)", called(call)):
            raise AssertionError(f"{name}:{call.lineno} uses global chance: take a numpy Generator as an argument.")


@law
def test_one_room_reads_the_environment(name):
    if name in READS_ENVIRONMENT:
        return
    reads = [node.lineno for node in nodes(name, ast.Attribute) if ast.unparse(node) in ("os.environ", "os.getenv")]
    assert not reads, (
        f"{name}:{reads} reads the environment: add a field to src/runtime/settings_fields.py and be handed it."
    )
    assert "os.environ" not in imported(name)


@law
def test_one_module_reads_the_clock(name):
    if name in READS_CLOCK:
        return
    read = {ast.unparse(node) for node in nodes(name, ast.Attribute) if ast.unparse(node).startswith("time.")}
    read |= {each for each in imported(name) if each.startswith("time.")}
    assert not read - {"time.struct_time"} or "time" not in {each.split(".")[0] for each in imported(name)}, (
        f"{name} uses {read}: use a Clock, or monotonic_s of src.domain.clock."
    )
    now = [
        call.lineno for call in nodes(name, ast.Call) if re.search(r"\bdate(time)?\.(now|utcnow|today)$", called(call))
    ]
    assert not now, f"{name}:{now} reads the time: take a Clock as an argument."


@law
def test_constructors_of_many_parameters_take_them_by_name(name):
    many = [
        each.lineno
        for each in nodes(name, ast.FunctionDef)
        if each.name == "__init__" and len(each.args.posonlyargs) + len(each.args.args) - 1 > POSITIONAL
    ]
    assert not many, f"{name}:{many} takes more than {POSITIONAL} parameters by place: put `*` after self."


@law
def test_only_adapters_know_an_exchange_s_codes_and_words(name):
    if package_of(name) not in {"domain", "strategy", "execution", "storage", "reporting", "apps", "monitoring"}:
        return
    codes = [
        node.lineno
        for node in nodes(name, ast.UnaryOp)
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and node.operand.value in CODES
    ]
    words = [node.lineno for node in nodes(name, ast.Constant) if node.value in ("FUNDING_FEE", "INSURANCE_CLEAR")]
    assert not codes + words, f"{name}:{codes + words} knows Binance: use Rejection or IncomeKind of src.domain."


@law
def test_no_module_changes_the_import_path(name):
    if name == "runtime.venv_reexec":  # lets a snippet typed with another Python import what lies in .venv
        return
    touched = [node.lineno for node in nodes(name, ast.Attribute) if ast.unparse(node) == "sys.path"]
    assert not touched, f"{name}:{touched} touches sys.path: src/src.py already lets `python3 src/NAME.py` work."


def test_no_file_bears_the_name_of_a_standard_module():
    clashes = {name for name in MODULES if name.split(".")[-1] in sys.stdlib_module_names - {"__main__"}}
    assert not clashes, f"rename {clashes}: run as a script, src/ is searched before the standard library."


@law
def test_files_and_functions_keep_their_size(name):
    longest = LONGEST_FILE.get(name, 400)
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= longest, f"{MODULES[name]} has {lines} lines, {longest} are allowed: find its second job."
    for function in nodes(name, ast.FunctionDef | ast.AsyncFunctionDef):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= 50, f"{name}.{function.name} has {length} lines, 50 are allowed: name its steps."


@law
def test_public_names_explain_themselves(name):
    def public(body):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from public(node.body)

    silent = [node.name for node in public(tree(name).body) if not ast.get_docstring(node)]
    assert not silent, f"{name}: {silent} need a docstring: what comes back, then shapes, units, errors, source."


@law
def test_nothing_runs_what_it_was_given(name):
    for call in nodes(name, ast.Call):
        what = called(call)
        place = f"{name}:{call.lineno}"
        assert what not in ("eval", "exec", "compile"), f"{place} calls {what}: parse the input instead."
        assert not what.endswith(("yaml.load", "joblib.load", "torch.load")), f"{place} calls {what}: it runs code."
        assert not re.search(r"(os\.system|os\.popen)$", what), f"{place} calls {what}: use subprocess with a list."
        shell = [word for word in call.keywords if word.arg == "shell" and ast.unparse(word.value) != "False"]
        assert not shell, f"{place} uses shell=True: hand subprocess a list of words."
        if re.match(r"c?[pP]ickle\.(loads?|Unpickler)$", what):
            assert name in MAY_UNPICKLE, f"{place} unpickles: pickles are programs; store npz or JSON."
    if name not in MAY_UNPICKLE:
        roots = {each.split(".")[0] for each in imported(name)}
        assert not roots & {"pickle", "cPickle", "shelve", "marshal", "dill"}, f"{name}: store npz or JSON instead."


@law
def test_no_fault_is_swallowed(name):
    owners = {
        child: function.name
        for function in nodes(name, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(function)
    }
    for handler in nodes(name, ast.ExceptHandler):
        caught = ast.unparse(handler.type) if handler.type else "everything"
        if re.search(r"\b(everything|Exception|BaseException)\b", caught):
            assert (name, owners.get(handler)) in CATCHES_ALL, (
                f"{name}:{handler.lineno} catches {caught}: name the errors of src/domain/errors.py or the library's. "
                "Only an edge that answers a stranger catches all; name it in CATCHES_ALL with its reason."
            )


@law
def test_nothing_needs_a_screen(name):
    assert not {each.split(".")[0] for each in imported(name)} & {"tkinter", "turtle"}, f"{name}: servers have none."


@pytest.mark.parametrize("name", [name for name in LEAN if name in MODULES])
def test_the_long_running_processes_load_no_heavy_library(name):
    loaded, waiting = {}, [name]
    seen = set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        loaded |= {each.split(".")[0]: current for each in imported(current, top_level_only=True)}
        waiting += rooms_used(current, top_level_only=True)
    heavy = {library: where for library, where in loaded.items() if library in HEAVY}
    assert not heavy, f"{name} loads {heavy}: import it inside the function that needs it, or in a child process."


@cache
def _named_in(file: Path) -> set[str]:
    lines = file.read_text().splitlines()
    return {re.split(r"[\s#=<>[]", line)[0].lower().replace("_", "-") for line in lines if line and line[0] != "#"}


def _named(files: set[Path]) -> set[str]:
    return set().union(*map(_named_in, files))


def test_every_library_is_named_in_the_requirements():
    """What tests alone need is not installed on a trading machine, so nothing of ``src`` may import it."""
    running = {file for file in ROOT.glob("requirements*.in") if not file.stem.endswith(("test", "bench"))}
    ours = {"src", "tests", "scripts", "benchmarks", "retrain_rl_model", "configure_costs"}
    homes = packages_distributions()
    missing = {}
    for path in [*SRC.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *ROOT.glob("*.py")]:
        named = _named(set(ROOT.glob("requirements*.in")) if ROOT / "tests" in path.parents else running)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
            for root in {alias.name for alias in node.names} if isinstance(node, ast.Import) else {module or ""}:
                top = root.split(".")[0]
                if not top or top in ours or top in sys.stdlib_module_names:
                    continue
                known = {home.lower().replace("_", "-") for home in homes.get(top, ())}
                if not (known | {MOVED_NAMES.get(top, top).replace("_", "-")}) & named:
                    missing[top] = path.name
    assert not missing, f"add {missing} to requirements.in (or -test.in) and make the locks anew (CONTRIBUTING.md)"


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_requirements_are_pinned_with_hashes_and_name_no_registry(file):
    text = file.read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert len(entries) > (5 if file.stem.endswith(("alerts", "ray", "strategies", "telegram")) else 40)
    assert all(re.match(r"[A-Za-z0-9_.-]+(\[\S+\])?==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
