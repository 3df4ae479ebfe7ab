"""Segment messages posted to a Flask application, passed on to Kochava.

    flask --app examples/flask_app.py run

A message that Kochava cannot have is answered with 4xx, so that nobody sends it again; one that did
not get through with 503, so that somebody does.
"""

from __future__ import annotations

from flask import Flask, request
from flask.typing import ResponseReturnValue

from kochava_segment import (
    DeliveryError,
    EventFiltered,
    KochavaDestination,
    MappingError,
    Rejected,
)

# The sender waits for the answer and tries again itself: one quick attempt here is enough.
kochava = KochavaDestination.from_env(retry={"max_attempts": 1}, timeout=(1.0, 3.0))
app = Flask(__name__)


@app.post("/segment")
def segment() -> ResponseReturnValue:
    """Pass one message on."""
    receipt = kochava.send(request.get_json())  # the one line
    return {"action": receipt.action}


@app.errorhandler(EventFiltered)
def filtered(error: EventFiltered) -> ResponseReturnValue:
    """Not meant for Kochava: all is well."""
    return {"filtered": error.reason.value}


@app.errorhandler(MappingError)
@app.errorhandler(Rejected)
def refused(error: Exception) -> ResponseReturnValue:
    """It will not get better by being sent again."""
    return {"error": str(error)}, 400


@app.errorhandler(DeliveryError)
def not_delivered(error: Exception) -> ResponseReturnValue:
    """It did not get through: send it again."""
    return {"error": str(error)}, 503
