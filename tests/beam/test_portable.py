"""Beam's job service: the way to clusters, on which a pipeline travels as a description of itself."""

from tests.beam.pipelines import messages_of, run

# Beam's own, within this process: those of Flink and Spark are programs that have to be fetched.
JOB_SERVICE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


def test_a_pipeline_runs_through_a_job_service(tmp_path, kochava_emulator):
    messages = messages_of(devices=5, each=4)
    ran = run(
        [*messages, messages[0], 7],
        tmp_path,
        kochava_emulator,
        *JOB_SERVICE,
        max_rate=500,
        workers=2,
    )
    assert ran.counts == {"accepted": 20, "duplicate": 1, "invalid": 1}
    assert len(kochava_emulator.accepted) == 20
    assert ran.counters == {"accepted": 20, "duplicate": 1, "invalid": 1}
