"""`python -m tests.provider --port N`: run the fake provider by itself."""

import argparse

from midstream.testing.provider.server import run


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A fake provider on loopback: OpenAI and Anthropic dialects.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port; the URL is the first line printed")
    run(parser.parse_args().port)


if __name__ == "__main__":
    main()
