"""What the workers need to know: options that may stand in a pipeline's graph, and no secret.

A graph is stored and shown in places that secrets must not reach: a job service, its console, logs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, Problem
from kochava_segment.options import ENVIRONMENT_PREFIX, Options

CredentialsSource = Callable[[], tuple[str, str]]

_SECRETS = ("api_key", "api_secret", "account_key")
_VARIABLES = (f"{ENVIRONMENT_PREFIX}API_KEY", f"{ENVIRONMENT_PREFIX}API_SECRET")
# Those of a queue on one machine's disk.
_OF_THE_OUTBOX = (
    *("outbox", "durability", "retention", "max_size", "when_full", "relay"),
    *("lease", "outbox_retry", "stop_on_sigterm", "devices", "devices_per_user", "devices_days"),
    *("account_id", "account_app_ids", "privacy_endpoint"),
)


def credentials_from_environment() -> tuple[str, str]:
    """The API key and secret in the worker's environment, which must be there.

    Raises:
        ConfigurationError: if `KOCHAVA_SEGMENT_API_KEY` or `KOCHAVA_SEGMENT_API_SECRET` is not set.
    """
    key, secret = map(os.environ.get, _VARIABLES)
    if not key or not secret:
        detail = f"are not in the worker's environment: set {' and '.join(_VARIABLES)} there"
        raise ConfigurationError([Problem("api_key and api_secret", detail)])
    return key, secret


def _found_in_environment() -> tuple[str, str] | None:
    return credentials_from_environment() if any(map(os.environ.get, _VARIABLES)) else None


@frozen(kw_only=True)
class Settings:
    """How messages are mapped and sent, on any worker. It is pickled into the pipeline's graph.

    Attributes:
        options: Keywords of `KochavaDestination`, without secrets.
        credentials: Called on each worker process for the API key and the secret; None takes them
            from the environment, where they are there.
        concurrency: Requests under way at once, in a worker process.
    """

    options: Mapping[str, Any] = field(repr=False)
    credentials: CredentialsSource | None = None
    concurrency: int = 64

    @classmethod
    def checked(
        cls,
        options: Mapping[str, Any],
        credentials: CredentialsSource | None,
        concurrency: int,
    ) -> Settings:
        """Check everything, as `Options` does, where the pipeline is built.

        Raises:
            ConfigurationError: with everything that is wrong.
        """
        given = {name: value for name, value in options.items() if value is not None}
        # Failures are in the outputs: nobody wants millions of them in the logs of a cluster as well.
        given.setdefault("hooks", ())
        problems = [Problem(name, _WHY_NO_SECRET) for name in _SECRETS if name in given]
        problems += [Problem(name, _WHY_NO_OUTBOX) for name in _OF_THE_OUTBOX if name in given]
        if credentials is not None and not callable(credentials):
            problems.append(Problem("credentials", "must be a function that gives (key, secret)"))
        if not is_count(concurrency):
            problems.append(Problem("concurrency", "must be a whole number from 1 on"))
        refused = {problem.path for problem in problems}
        try:
            Options.load({name: value for name, value in given.items() if name not in refused})
        except ConfigurationError as error:
            problems += error.problems
        if problems:
            raise ConfigurationError(problems)
        return cls(options=given, credentials=credentials, concurrency=concurrency)

    def with_rate(self, max_rate: float | None) -> Settings:
        """The same at another pace, in requests a second; None for no limit."""
        return evolve(self, options={**self.options, "max_rate": max_rate})

    def for_mapping(self) -> Options:
        """The options of the mapping alone, for which no secret is needed."""
        return Options.load(self.options)

    def destination(self) -> KochavaDestination:
        """A destination for this worker process.

        Raises:
            ConfigurationError: if its credentials are wrong.
        """
        found = (self.credentials or _found_in_environment)()
        if found is None:
            return KochavaDestination(**self.options)
        try:
            key, secret = found
        except (TypeError, ValueError):
            problem = Problem("credentials", "must give two strings: the API key and the secret")
            raise ConfigurationError([problem]) from None
        return KochavaDestination(**{**self.options, "api_key": key, "api_secret": secret})


_WHY_NO_SECRET = (
    "must not stand in a pipeline's graph, which is stored and shown in clear: set "
    f"{_VARIABLES[0]} and {_VARIABLES[1]} on the workers, or give credentials=FUNCTION"
)
_WHY_NO_OUTBOX = "is about an outbox, a file of one machine: a pipeline keeps its messages itself"


def share_of(max_rate: float | None, workers: int | None, pipeline_options: Any) -> float | None:
    """The pace of one worker process, so that all together keep to a rate.

    Args:
        max_rate: Requests a second, of all together; None for no limit.
        workers: The most worker processes that there can be at a time.
        pipeline_options: The pipeline's, which tell it where `workers` is None and the runner local.

    Raises:
        ConfigurationError: if nothing tells how many processes there can be.
    """
    if max_rate is None:
        return None
    count = local_processes(pipeline_options) if workers is None else workers
    if count is None:
        detail = (
            "is missing: max_rate is for all workers together, and this runner does not say how many "
            "processes there can be at most; give their number"
        )
        raise ConfigurationError([Problem("workers", detail)])
    return max_rate / count


def local_processes(pipeline_options: Any) -> int | None:
    """How many processes a local run has; None for runners that are not local."""
    values = pipeline_options.get_all_options()
    runner = str(values.get("runner") or "DirectRunner").rpartition(".")[2]
    if runner.casefold().removesuffix("runner") not in {"direct", "fnapi", "bundlebaseddirect"}:
        return None
    if values["direct_running_mode"] != "multi_processing":
        return 1
    return int(values["direct_num_workers"]) or os.cpu_count() or 1


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 1 on."""
    return type(value) is int and value >= 1
