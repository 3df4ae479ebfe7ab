"""Options on their way to the workers: checked where the pipeline is built, and free of secrets."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from kochava_segment import ConfigurationError
from kochava_segment.beam import WriteToKochava, credentials_from_environment
from kochava_segment.beam.settings import Settings, share_of
from tests.beam.pipelines import TWO_PROCESSES
from tests.messages import ios

SECRETS = ("key-that-nobody-may-see", "secret-that-nobody-may-see")


def paths(error):
    return [problem.path for problem in error.value.problems]


def test_everything_wrong_is_told_when_the_pipeline_is_built():
    with pytest.raises(ConfigurationError) as error:
        WriteToKochava(7, screens="maybe", workers=0, concurrency=0, max_rate=-1, batch_size=True)
    assert set(paths(error)) == {
        *("app_guid", "screens", "workers", "concurrency", "max_rate", "batch_size")
    }


@pytest.mark.parametrize("name", ["api_key", "api_secret", "account_key"])
def test_a_secret_may_not_stand_in_the_graph(name):
    with pytest.raises(ConfigurationError, match="KOCHAVA_SEGMENT_API_KEY") as error:
        WriteToKochava("koapp", **{name: SECRETS[0]})
    assert paths(error) == [name]
    assert SECRETS[0] not in str(error.value)


@pytest.mark.parametrize("option", [{"outbox": "x.sqlite3"}, {"devices": True}, {"lease": 3.0}])
def test_an_outbox_is_for_one_machine(option):
    with pytest.raises(ConfigurationError, match="a file of one machine"):
        WriteToKochava("koapp", **option)


def secret_callable():
    return SECRETS


@pytest.mark.parametrize("credentials", [None, secret_callable, credentials_from_environment])
def test_the_graph_has_no_secret(monkeypatch, credentials):
    for name, value in zip(("KEY", "SECRET"), SECRETS, strict=True):
        monkeypatch.setenv(f"KOCHAVA_SEGMENT_API_{name}", value)
    write = WriteToKochava("koapp-in-the-graph", credentials=credentials)
    assert write._settings.destination().options.api_key == SECRETS[0]
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    _ = pipeline | beam.Create([ios()]) | write
    graph = pipeline.to_runner_api(return_context=False)
    everything = graph.SerializeToString() + b"".join(unpickled_texts(graph))
    assert b"koapp-in-the-graph" in everything, "or this test would see nothing"
    assert b"that-nobody-may-see" not in everything


def unpickled_texts(graph):
    """Beam compresses what it pickles: the payloads as they are underneath."""
    from apache_beam.internal import pickler
    from apache_beam.portability.api import beam_runner_api_pb2

    for transform in graph.components.transforms.values():
        if transform.spec.urn == "beam:transform:pardo:v1":
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            function = pickler.loads(payload.do_fn.payload)[0]
            yield str(vars(function)).encode()
            settings = vars(function).get("_settings")
            if settings is not None:
                yield repr(settings.options).encode()


def test_credentials_that_must_be_there_and_are_not(monkeypatch):
    monkeypatch.delenv("KOCHAVA_SEGMENT_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="not in the worker's environment"):
        credentials_from_environment()


def test_half_of_the_credentials_is_an_error(monkeypatch):
    monkeypatch.setenv("KOCHAVA_SEGMENT_API_KEY", "x")
    monkeypatch.delenv("KOCHAVA_SEGMENT_API_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="not in the worker's environment"):
        Settings.checked({"app_guid": "koapp"}, None, 1).destination()


def test_a_callable_that_gives_something_else_is_named():
    settings = Settings.checked({"app_guid": "koapp"}, lambda: 7, 1)
    with pytest.raises(ConfigurationError, match="must give two strings"):
        settings.destination()


@pytest.mark.parametrize(
    ("flags", "workers", "share"),
    [
        ((), None, 100.0),
        (("--runner=FnApiRunner",), None, 100.0),
        (TWO_PROCESSES, None, 50.0),
        (("--runner=DataflowRunner",), 20, 5.0),
        (TWO_PROCESSES, 4, 25.0),
    ],
)
def test_each_process_has_its_share_of_the_rate(flags, workers, share):
    assert share_of(100.0, workers, PipelineOptions(list(flags))) == share


def test_no_rate_needs_no_share():
    assert share_of(None, None, PipelineOptions(["--runner=FlinkRunner"])) is None


def test_a_rate_on_a_cluster_needs_the_number_of_processes():
    with pytest.raises(ConfigurationError, match="give their number") as error:
        share_of(100.0, None, PipelineOptions(["--runner=FlinkRunner"]))
    assert paths(error) == ["workers"]
