"""The Q-learning agent under the name users import."""

from src.strategy.q_agent import (
    Action,
    QLearningAgent,
    Recommendation,
    Training,
    migrate_pickle,
    trade_reward,
)

__all__ = ["Action", "QLearningAgent", "Recommendation", "Training", "migrate_pickle", "trade_reward"]
