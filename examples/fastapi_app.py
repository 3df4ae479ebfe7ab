"""Segment messages posted to a FastAPI application, passed on to Kochava.

    uvicorn examples.fastapi_app:app

The handler is a plain function on purpose: FastAPI runs it in a thread, so that waiting for Kochava
blocks nobody else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from kochava_segment import (
    DeliveryError,
    EventFiltered,
    KochavaDestination,
    MappingError,
    Rejected,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    """One destination for as long as the application runs."""
    with KochavaDestination.from_env(retry={"max_attempts": 1}, timeout=(1.0, 3.0)) as kochava:
        app.state.kochava = kochava
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/segment")
def segment(message: dict[str, Any], request: Request) -> dict[str, str]:
    """Pass one message on."""
    kochava: KochavaDestination = request.app.state.kochava
    return {"action": kochava.send(message).action}


@app.exception_handler(EventFiltered)
def filtered(_: Request, error: Exception) -> JSONResponse:
    """Not meant for Kochava: all is well."""
    return JSONResponse({"filtered": str(error)})


@app.exception_handler(MappingError)
@app.exception_handler(Rejected)
def refused(_: Request, error: Exception) -> JSONResponse:
    """It will not get better by being sent again."""
    return JSONResponse({"error": str(error)}, status_code=400)


@app.exception_handler(DeliveryError)
def not_delivered(_: Request, error: Exception) -> JSONResponse:
    """It did not get through: send it again."""
    return JSONResponse({"error": str(error)}, status_code=503)
