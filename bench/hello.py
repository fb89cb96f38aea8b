"""The yardstick: a bare Flask that answers JSON, under the product's gunicorn settings."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> dict[str, str]:
    """The smallest useful answer."""
    return {"hello": "world"}
