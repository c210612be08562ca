"""The called endpoints: nginx if it is installed, otherwise lean.py; and the choice of CPU cores."""

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from speed import lean as lean_server

KEY = "sk-proj-" + "0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZ" * 4
"""The key that all clients send. It is as long as real ones, because the time to redact it depends on its length."""
LONGEST = 7200
"""Seconds after which a server ends by itself, even if the benchmark was killed."""

CONF = """
worker_processes 1; worker_rlimit_nofile 65536; pid nginx.pid; error_log error.log crit;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; default_type application/json;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096{tls};
    location /v1/ {{ return 200 '{answer}'; }}
    location / {{ return 404; }}
  }}
}}
"""
TLS = " ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem"
OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost "
    "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem"
).split()


@contextmanager
def on(core: int | None) -> Iterator[None]:
    """Pin processes started in this context to the first core (0: clients) or the last (-1: servers), if supported.

    Args:
        core: 0 or -1; None: they may use all cores.
    """
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(every)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


class Lean:
    """A running lean.py. After it has ended, `first` is the time of its first call."""

    def __init__(self, url: str) -> None:
        self.url, self.first = url, 0.0


@contextmanager
def lean(delay: float = 0.0) -> Iterator[Lean]:
    """Run lean.py in a separate process."""
    command = [sys.executable, lean_server.__file__, "--delay", str(delay)]
    with on(-1):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = Lean(process.stdout.readline().strip())
    try:
        yield server
    finally:
        output, _ = process.communicate(timeout=20)  # closes its standard input, which ends the server
        server.first = float(output.split()[1]) if output else 0.0


@contextmanager
def nginx(folder: Path, *, tls: bool = False, core: int | None = -1) -> Iterator[str]:
    """Run nginx with the same answers; the id of the request makes them unique. With `tls`: `folder/cert.pem`."""
    folder.mkdir(exist_ok=True)
    if tls:
        subprocess.run(OPENSSL, cwd=folder, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(port=port, answer=lean_server.answer("$request_id"), tls=TLS if tls else ""))
    command = ["timeout", str(LONGEST), "nginx", "-p", f"{folder}/", "-c", str(conf), "-g", "daemon off;"]
    with on(core):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("nginx did not start")


@contextmanager
def quick(folder: Path, core: int | None = -1) -> Iterator[str]:
    """Run the fastest available server and report which one it is."""
    if shutil.which("nginx") and shutil.which("timeout"):
        with nginx(folder / "nginx", core=core) as url:
            yield url
    else:
        print("nginx is not installed: our own server takes its place, some three times slower", file=sys.stderr)
        with lean() as server:
            yield server.url


class Load(msgspec.Struct):
    """Measurements of wrk: requests, wall seconds and CPU seconds."""

    requests: int
    wall: float
    cpu: float


def wrk(url: str, in_flight: int, folder: Path, seconds: int = 1) -> Load | None:
    """Make the same calls with wrk as a reference for maximum speed. None if wrk is not installed."""
    if not shutil.which("wrk"):
        return None
    script = folder / "post.lua"
    body = '{"model":"mock","messages":[{"role":"user","content":"' + "x" * 1000 + '"}]}'
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    lines = [f"wrk.headers['{name}'] = '{value}'" for name, value in headers.items()]
    script.write_text("\n".join(["wrk.method = 'POST'", f"wrk.body = '{body}'", *lines, ""]))
    command = ["wrk", "-t1", f"-c{in_flight}", f"-d{seconds}s", "-s", str(script), f"{url}/chat/completions"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with on(0):
        said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    assert found is not None, said
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(int(found[1]), float(found[2]), cpu)
