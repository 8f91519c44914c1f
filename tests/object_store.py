"""A real server of S3's protocol on this machine, and a bucket in it."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@dataclass
class Store:
    """A server with an empty bucket, and how to reach it."""

    env: dict[str, str]
    fs: Any

    def put(self, name: str, content: bytes | Image.Image) -> None:
        if isinstance(content, Image.Image):
            file = io.BytesIO()
            content.save(file, format=Image.registered_extensions()[Path(name).suffix])
            content = file.getvalue()
        self.fs.pipe_file(f"bucket/{name}", content)

    def names(self, folder: str) -> list[str]:
        return [name.removeprefix(f"bucket/{folder}/") for name in self.fs.find(f"bucket/{folder}")]

    def picture(self, name: str) -> Image.Image:
        return Image.open(io.BytesIO(self.fs.cat_file(f"bucket/{name}")))

    @contextmanager
    def denied(self, *actions: str) -> Iterator[None]:
        """Nobody may do this with the bucket's objects."""
        statement = {
            "Effect": "Deny", "Principal": "*", "Action": [*actions], "Resource": "arn:aws:s3:::bucket/*"
        }  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.fs.call_s3("put_bucket_policy", Bucket="bucket", Policy=policy)
        try:
            yield
        finally:
            self.fs.call_s3("delete_bucket_policy", Bucket="bucket")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(endpoint: str) -> Iterator[Store]:
    env = {
        "AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    fs = s3fs.S3FileSystem(key="reader", secret="secret", endpoint_url=endpoint, use_listings_cache=False)
    fs.mkdir("bucket")
    yield Store(env, fs)
    fs.rm("bucket", recursive=True)
