"""Operates the suite from a Telegram chat: reports, alerts with buttons, and commands behind an allow-list and a PIN.

Public: ``service.ChatService``, ``bot_api.TelegramApi``. Changes go through the command queue alone.
"""
