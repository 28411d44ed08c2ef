"""How fast the agent is retrained, beside a plain Python loop over the same lessons: python -m benchmarks.training

Prints seconds for 150 episodes of 2,000 and of 50,000 samples (budgets 0.5 s and 1.5 s), machine code made before,
and checks that the same seed gives the same table bit for bit.
"""

import time

import numpy as np

from src.domain.risk import RiskLimits
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_state import STATES
from src.strategy.rules import DecisionRules, thresholds
from src.training.dataset import Outcomes, Samples
from src.training.episodes import EpisodeRunner, course_of, learn_blocks, rehearse, rehearsed

EPISODES = 150


def made_up(count: int, seed: int = 7) -> Samples:
    """Return samples of a random walk that visit 3,000 states, as a month of real minutes does."""
    chance = np.random.default_rng(seed)
    none = np.zeros(0, np.int64)
    side = chance.integers(-1, 2, count)
    return Samples(
        source="made up",
        symbols=("BTCUSDT",),
        interval_ms=60_000,
        pair=np.zeros(count, np.int64),
        open_ms=60_000 * np.arange(1, count + 1),
        price=30_000.0 * np.cumprod(1.0 + chance.normal(0.0, 0.0008, count)),
        state=chance.choice(chance.integers(0, STATES, 3_000), count),
        side=side.astype(np.int8),
        strength=chance.integers(2, 5, count).astype(np.int8),
        outcomes=Outcomes(none, none, np.zeros(0)),
    )


def train(samples: Samples) -> tuple[float, QLearningAgent]:
    pupil = EpisodeRunner(QLearningAgent(), samples, thresholds(DecisionRules(), RiskLimits()), 0.5, (7, 0))
    began = time.perf_counter()
    pupil.learn_until(EPISODES, lambda: False, lambda _: None)
    return time.perf_counter() - began, pupil.agent


def plain(samples: Samples, episodes: int) -> float:
    """Return the seconds of the same functions without a compiler."""
    agent, course = QLearningAgent(), course_of(samples)
    t, visits = thresholds(DecisionRules(), RiskLimits()), np.zeros(STATES, np.int64)
    blocks = np.arange(-(-len(samples) // 256))
    began = time.perf_counter()
    for _ in range(episodes):
        learn_blocks(blocks, 256, course, agent.value, agent.mean_square, visits, 0.01, 0.98, 0.0006, 0)
        rehearsed(agent, course, t, 0.5, False, rehearse)
    return time.perf_counter() - began


def main() -> None:
    train(made_up(300))
    print("| samples | 150 episodes | budget | plain Python (of 2 episodes) | times faster |\n|---|---|---|---|---|")
    for count, budget_s in ((2_000, 0.5), (50_000, 1.5)):
        samples = made_up(count)
        took_s, first = min((train(samples) for _ in range(3)), key=lambda each: each[0])
        _, second = train(samples)
        assert first.value.tobytes() == second.value.tobytes(), "the same seed gave another table"
        plain_s = plain(made_up(min(count, 5_000)), 2) * EPISODES / 2 * max(count / 5_000, 1.0)
        print(f"| {count:,} | {took_s:.2f} s | {budget_s} s | {plain_s:.0f} s | {plain_s / took_s:.0f} |")


if __name__ == "__main__":
    main()
