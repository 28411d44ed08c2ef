"""The documents about the structure say what the code does: import table, walks, glossary, and a new vote."""

import ast
import re
from pathlib import Path

import pytest

from src.domain.errors import ModelRefused
from src.strategy import signals, votes
from src.strategy.indicators import Indicators
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules
from tests.test_architecture import MAY_IMPORT

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = re.findall(r"### From (.*?)\n(.*?)(?=\n##)", ARCHITECTURE, re.S)


def test_the_import_table_of_the_document_is_the_one_that_is_enforced():
    told = {}
    for package, allowed in re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", ARCHITECTURE, re.M):
        told[package] = None if allowed == "everything" else set(re.findall(r"`(\w+)`", allowed))
    assert told == MAY_IMPORT


def test_there_are_four_walks():
    assert len(WALKS) == 4


@pytest.mark.parametrize(("name", "text"), WALKS, ids=[name for name, _ in WALKS])
def test_each_walk_leads_through_functions_that_exist_in_at_most_six_files(name, text):
    steps = re.findall(r"\| `(src/\S+\.py)` \| `(\w+)` \|", text)
    assert len(steps) >= 4 and len({file for file, _ in steps}) <= 6, name
    for file, function in steps:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in names, f"{file} has no {function}"


def test_the_glossary_has_at_most_forty_terms_in_order():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", glossary, re.M)[1:]
    assert 20 <= len(terms) <= 40
    assert terms == sorted(terms, key=str.lower)


def test_a_new_vote_is_one_entry(monkeypatch, tmp_path):
    """Follows docs/extending.md: the signal counts it, a rule set can name it, a model without it is refused."""

    def stochastic_vote(i: Indicators) -> int:
        return 1 if i.stochastic_k < 20.0 else -1 if i.stochastic_k > 80.0 else 0

    agent = QLearningAgent()
    agent.save(tmp_path / "model.pkl", 0)
    entry = votes.VoteRule("stochastic", stochastic_vote, lambda i: f"stochastic {i.stochastic_k:.1f}")
    six = votes.vote_values
    registry = (*votes.VOTES, entry)
    names = tuple(rule.name for rule in registry)
    for module in (votes, signals):
        monkeypatch.setattr(module, "VOTES", registry)
        monkeypatch.setattr(module, "VOTE_NAMES", names)
        monkeypatch.setattr(module, "vote_values", lambda i: (*six(i), stochastic_vote(i)))
    monkeypatch.setattr("src.strategy.rules.VOTE_NAMES", names)
    monkeypatch.setattr("src.strategy.q_agent.VOTE_NAMES", names)
    low = Indicators(**{**dict.fromkeys(Indicators._fields, 1.0), "rsi": 20.0, "stochastic_k": 10.0})
    signal = signals.generate_signal(low, ("rsi", "stochastic"))
    assert (signal.side.value, signal.strength) == ("BUY", 2)
    assert signal.votes[-1] == signals.Vote("stochastic", 1, "stochastic 10.0")
    assert DecisionRules(votes=("rsi", "stochastic")).votes[-1] == "stochastic"
    with pytest.raises(ModelRefused, match="other votes"):
        QLearningAgent.load(tmp_path / "model.pkl")
