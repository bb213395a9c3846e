"""Reads letters from a queue, for tests of queue triggers."""

from __future__ import annotations

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
_read: list[dict[str, object]] = []


@app.queue_trigger(arg_name="letter", queue_name="%LETTERS%", connection="AzureWebJobsStorage")
def read(letter: func.QueueMessage) -> None:
    text = letter.get_body().decode()
    _read.append({"text": text, "id": letter.id, "count": letter.dequeue_count, "year": letter.insertion_time.year})
    if text.startswith("torn"):
        raise ValueError("it can't be read")


@app.route(route="letters")
def letters(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(_read), mimetype="application/json")
