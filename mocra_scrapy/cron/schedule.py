"""When a job is due: cron expressions, time zones, and the two days of a year on which clocks
change. Pure.

:mod:`croniter` reads the fields and steps through local times, as on a clock without a zone; what a
local time means on days when clocks change is decided here (croniter 7.0 itself fires
``30 1 * * *`` twice in autumn and adds a run of ``0 */2 * * *`` in spring):

* A job at **fixed** times (neither the minute nor the hour field begins with ``*`` or ``H/``) runs
  once for each of its times: a time that is left out in spring runs at the first instant after the
  gap, a time that comes twice in autumn runs the first time.
* Any other job follows **elapsed** time: it runs whenever the clock shows a matching time, so not
  at all in a gap, and in both of the repeated hours.

That is what Debian's cron does. Instants are whole seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from croniter import CroniterBadDateError, CroniterError, croniter

from mocra_scrapy.cron import zones
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.models.wording import counted

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: The calendar of Python ends a century later; what looks ahead must not fall off it.
END = zones.seconds(datetime(9900, 1, 1))
FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_ELAPSED = re.compile(r"\*|H/", re.IGNORECASE)
_RANDOM = re.compile(r"(?:^|,)R(?:[(/,]|$)", re.IGNORECASE)
_STEP = re.compile(r"/(\d+)", re.ASCII)


class BadSchedule(ValueError):
    """An expression or time zone that means nothing. ``problem`` and ``fix`` are sentences without
    a full stop.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}. {fix}")
        self.problem, self.fix = problem, fix


class Fire(NamedTuple):
    """An instant at which a job is due, and what is odd about it (empty: nothing)."""

    instant: int
    note: str = ""


def zone_of(name: str) -> ZoneInfo:
    """The time zone called *name*.

    Raises:
        BadSchedule: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        guess = did_you_mean(name, available_timezones())
        raise BadSchedule(
            f"there is no time zone {name!r}", guess or "Write a name of the tz database: Europe/Berlin, UTC"
        ) from error


class Schedule:
    """When one job is due.

    Args:
        text: five fields, six with the second first, or one of :data:`ALIASES`. ``H`` is a number
            made from the job's name.
        zone: name of a time zone.
        job: the job's name, for ``H``.

    Raises:
        BadSchedule: says which field is wrong.
    """

    def __init__(self, text: str, zone: str = "UTC", job: str = "") -> None:
        self.text, self.zone = " ".join(text.split()), zone_of(zone)
        self._hash = job.encode()
        self.fields = self._parse(self.text)
        minute, hour = self.fields[-5], self.fields[-4]
        self.fixed = not (_ELAPSED.match(minute) or _ELAPSED.match(hour))
        try:
            next(self._locals(datetime(2024, 1, 1)))
        except (CroniterBadDateError, StopIteration) as error:
            raise BadSchedule(f"{self.text!r} never comes", "Change the day, month or weekday") from error

    def __repr__(self) -> str:
        return f"Schedule({self.identity!r})"

    @property
    def identity(self) -> str:
        """Equal for schedules that mean the same to a runner: after a change of it the past is not
        caught up.
        """
        return f"{self.text} {self.zone.key}"

    # ------------------------------------------------------------------ reading

    def _parse(self, text: str) -> tuple[str, ...]:
        if text.startswith("@"):
            if text.lower() not in ALIASES:
                fix = did_you_mean(text.lower(), ALIASES) or f"Write one of {', '.join(ALIASES)}"
                raise BadSchedule(f"{text!r} is unknown", fix)
            text = ALIASES[text.lower()]
        fields = tuple(text.split(" ")) if text else ()
        if len(fields) not in (5, 6):
            raise BadSchedule(
                f"{text!r} has {counted(len(fields), 'field')}",
                "Write five: minute, hour, day of month, month, day of week; or six, with the second first",
            )
        for i, field in enumerate(fields, start=6 - len(fields)):
            self._check_field(i, field)
        try:
            croniter.expand(text, hash_id=self._hash, second_at_beginning=True, strict=True)
        except (CroniterError, ValueError, TypeError) as error:
            raise BadSchedule(
                f"{text!r} never comes", "Such days are not in such months; change one of them"
            ) from error
        return fields

    def _check_field(self, i: int, field: str) -> None:
        name, (low, high) = FIELDS[i], RANGES[i]
        if _RANDOM.search(field):
            raise BadSchedule(
                f"{field!r} in the field {name!r} is another number at each start",
                "Write H: a number made from the job's name",
            )
        steps = [int(step) for step in _STEP.findall(field)]
        if any(step > high for step in steps):
            raise BadSchedule(
                f"the step of {field!r} in the field {name!r} is longer than {high - low + 1}",
                f"Write {low}, or a smaller step",
            )
        alone = ["*"] * 6
        alone[i] = field
        try:
            croniter.expand(" ".join(alone), hash_id=self._hash, second_at_beginning=True)
        except (CroniterError, ValueError, TypeError) as error:
            names = {4: ", or JAN to DEC", 5: " (0 and 7 are Sunday), or SUN to SAT"}.get(i, "")
            raise BadSchedule(
                f"{field!r} is not a valid {name}", f"Write numbers from {low} to {high}{names}, with , - / *, or H"
            ) from error

    # ------------------------------------------------------------------ stepping

    def after(self, instant: float) -> Iterator[Fire]:
        """All instants later than *instant*, in order; they end when nothing comes for fifty years, and
        with the year 9900.
        """
        if instant < END:
            begin = int(instant // 1)
            yield from takewhile(
                lambda fire: fire.instant < END, self._fixed(begin) if self.fixed else self._elapsed(begin)
            )

    def between(self, after: float, until: float) -> Iterator[Fire]:
        """The instants in ``(after, until]``."""
        for fire in self.after(after):
            if fire.instant > until:
                return
            yield fire

    def latest(self, after: float, until: float, limit: int) -> tuple[list[Fire], bool]:
        """The last *limit* instants in ``(after, until]``, oldest first, and whether there are more
        before them.

        After a stop of a year an every-second job has 31 million: windows are doubled, so that the
        work depends on *limit* alone.
        """
        window = 64
        while True:
            start = max(after, until - window)
            found = list(self.between(start, until))
            if start <= after or len(found) > limit:
                return found[max(0, len(found) - limit) :], len(found) > limit
            window *= 2

    def _locals(self, after: datetime) -> Iterator[datetime]:
        """Matching times of a clock without a zone, later than *after*."""
        steps = croniter(
            " ".join(self.fields),
            after,
            ret_type=datetime,
            hash_id=self._hash,
            second_at_beginning=True,
            # As crontab(5) says it: day of month and day of week are alternatives only if neither
            # begins with a star.
            implement_cron_bug=True,
        )
        while True:
            try:
                yield steps.get_next()
            except CroniterBadDateError:
                return

    def _fixed(self, instant: int) -> Iterator[Fire]:
        last = instant
        for moment in self._locals(zones.local(self.zone, instant)):
            change, note = zones.change_around(self.zone, moment), ""
            if change is None:
                due = int(moment.replace(tzinfo=self.zone).timestamp())
            elif change.forward:
                due = change.instant
                note = f"{moment:%H:%M} is left out on this day (clocks go forward): runs at the first instant after the gap"
            else:
                due = zones.seconds(moment) - change.before
                note = f"{moment:%H:%M} comes twice on this day (clocks go back): runs the first time only"
            if due > last:
                last = due
                yield Fire(due, note)

    def _elapsed(self, instant: int) -> Iterator[Fire]:
        """Between two changes a zone is a clock of its own: step through each such stretch."""
        start, note = instant, ""
        while True:
            ahead = zones.offset(self.zone, start + 1)  # of the stretch that begins after *start*
            for moment in self._locals(zones.naive(start + ahead)):
                due = zones.seconds(moment) - ahead
                change = zones.next_change(self.zone, start + 1, due)
                if change is not None:
                    low, high = change.gap()
                    how = "are left out" if change.forward else "come twice"
                    note = f"clocks change: times from {low:%H:%M} to {high:%H:%M} {how} on this day"
                    start = change.instant - 1
                    break
                yield Fire(due, note)
                note = ""
            else:
                return
