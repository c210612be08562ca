"""An endpoint to practise on: how a server behaves (model.py), the same over HTTP (server.py), in its own process
(launch.py)."""
