"""The contenders: functions that take a setting and give a context manager of Work."""
