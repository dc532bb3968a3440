"""How long is a month? One answer for every bill: 730 hours, a twelfth of 365 days.

Rents are by the hour, volumes by the day, contracts by the month and declines by the year. Ignores leap days.
"""

SECONDS_PER_HOUR = 3600.0
HOURS_PER_DAY = 24.0
SECONDS_PER_DAY = HOURS_PER_DAY * SECONDS_PER_HOUR
DAYS_PER_YEAR = 365
MONTHS_PER_YEAR = 12
HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * SECONDS_PER_HOUR
