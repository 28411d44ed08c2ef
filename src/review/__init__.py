"""What a day or a week brought, written from figures by rules.

Public: ``python3 -m src.review``. Must not decide anything, and must not write.
"""
