"""`convey doctor`: what is known of a set-up, judged. Pure: fetching is `app.cli.doctor`'s, showing as well.

A judgement takes what one place said and gives findings; what nobody could ask is `Level.UNKNOWN`, never fine.
"""

from app.doctor.findings import CHECKS, Finding, Level, is_sound, unknown

__all__ = ["CHECKS", "Finding", "Level", "is_sound", "unknown"]
