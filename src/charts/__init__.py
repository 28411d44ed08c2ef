"""Chart images and their analysts: by rules or by a vision model.

Public: ``generator``, ``vision_analyst``, ``analysis_job``. Must not place orders or change settings.
"""
