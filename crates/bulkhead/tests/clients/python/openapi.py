"""Asks the gateway what its description promises, with one key, in the configuration beside this file."""

import os
import pathlib

from schemathesis.cli import schemathesis

config = pathlib.Path(__file__).with_name("schemathesis.toml")
schemathesis(
    ["--config-file", str(config), "run", "--no-color"]
    + ["--header", f"Authorization: Bearer {os.environ['KEY']}"]
    # The file: where it fetches the document from, Schemathesis asks nothing else.
    + ["--url", os.environ["GATEWAY"], os.environ["DOCUMENT"]]
)
