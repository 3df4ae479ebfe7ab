"""A Celery application whose worker enqueues before it forks. Run, it asks for forty tasks."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from kochava_segment import KochavaDestination
from tests.faults.traffic import message

_folder = Path(os.environ["BROKER_FOLDER"])
for name in ("queue", "processed", "control"):
    (_folder / name).mkdir(exist_ok=True)
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    name: str(_folder / folder)
    for name, folder in (
        ("data_folder_in", "queue"),
        ("data_folder_out", "queue"),
        ("processed_folder", "processed"),
        ("control_folder", "control"),
    )
}
destination = KochavaDestination.from_env()


@app.task(name="enqueue")
def enqueue(number):
    """Enqueue the message of a number."""
    destination.enqueue(message(number))


if __name__ == "__main__":
    for number in range(1, 41):
        enqueue.delay(number)
else:
    destination.enqueue(message(0))
