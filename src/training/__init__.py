"""Trains and retrains the Q-learning agent, and decides on unseen data whether a new model replaces the old one.

Public: ``trainer.ModelTrainer``, ``agent_manager.AgentManager``. A model is replaced only by a better one.
"""
