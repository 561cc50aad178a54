"""Command line of the sandbox: `python -m app.sandbox --port 0 --port-file PATH`."""

from app.sandbox.server import main

if __name__ == "__main__":
    raise SystemExit(main())
