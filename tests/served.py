"""What the servers that tests start on this machine share."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from typing import Self


class Served:
    """A server that answers for as long as a `with` block lasts. Subclasses make `_http`."""

    _http: ThreadingHTTPServer

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
