"""nginx with the nchan module, where both are installed: a server in C that keeps messages in memory and has no log."""

import shutil
from pathlib import Path
from typing import Final

from scripts.benchmarks.pipeline import Pipeline

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
MODULE: Final = next(
    (
        module
        for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules")
        if (module := Path(folder) / "ngx_nchan_module.so").exists()
    ),
    None,
)

_OK: Final = b"HTTP/1.1 20"

# One process, as the other fronts are; the same check of a key. http-raw-stream sends a message's bytes as they are, so
# that the frames are those of midstream.
_SITE: Final = """
load_module {module};
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nchan.log;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /readyz {{ return 200; }}
    location ~ ^/publish/(?<channel>[^/]+)$ {{
      nchan_publisher http; nchan_channel_id $channel; nchan_message_buffer_length 5000; nchan_message_timeout 10m;
    }}
    location ~ ^/v1/streams/(?<channel>[^/]+)/events$ {{
      if ($http_authorization != "Bearer {key}") {{ return 401; }}
      nchan_subscriber http-raw-stream; nchan_channel_id $channel; nchan_subscriber_first_message oldest;
      nchan_subscriber_http_raw_stream_separator "";
    }}
  }}
}}
"""


def command(folder: Path, port: int, key: str) -> list[str]:
    """Return the command of an nginx that serves all channels on a port."""
    assert NGINX is not None  # noqa: S101
    assert MODULE is not None  # noqa: S101
    site = folder / "nchan.conf"
    site.write_text(_SITE.format(module=MODULE, folder=folder, port=port, key=key))
    return [NGINX, "-e", str(folder / "nchan.log"), "-c", str(site)]


class Publisher(Pipeline):
    """Publishes to channels over one connection; requests are pipelined."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._carry = b""

    def command(self, stream: str, offset: int, text: bytes) -> bytes:
        """Return the request that publishes an entry's frame."""
        frame = b'id: %d\nevent: text\ndata: {"type":"text","text":"%b"}\n\n' % (offset, text)
        head = f"POST /publish/{stream} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(frame)}\r\n\r\n"
        return head.encode() + frame

    def answered(self, data: bytes) -> int:
        """Count the heads of answers; one may come in two parts."""
        data = self._carry + data
        if b"HTTP/1.1 4" in data or b"HTTP/1.1 5" in data:
            raise RuntimeError(f"nginx has refused to publish: {data[:200]!r}")
        end = data.rfind(_OK)
        self._carry = data[max(end + len(_OK) if end >= 0 else 0, len(data) - len(_OK) + 1) :]
        return data.count(_OK)
