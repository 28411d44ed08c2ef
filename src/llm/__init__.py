"""Language models within a budget: client, prices, usage ledger, cost report.

Public: ``client.OpenAIClient``, ``budgeted_model.BudgetedModel``. ``client`` alone knows the OpenAI library.
"""
