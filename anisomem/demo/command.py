"""``anisomem demo``: prepares a model, serves its page and says where, until it is ended."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from threading import Event

from anisomem.config import catalog, compose
from anisomem.config.overrides import experiment
from anisomem.config.schema import Config
from anisomem.console.progress import phase
from anisomem.demo import interface
from anisomem.demo.prepare import prepare
from anisomem.errors import UserError

OWN = "dataset"  # the bundled models have a prompt set of their name


def demo(words: Sequence[str], host: str, port: int) -> None:
    """Serves the demo until it is interrupted.

    Arguments:
        words: The overrides.
        host: The address that it listens on.
        port: The port.

    Raises:
        UserError: Settings that are wrong, gradio is not installed, or the port is taken.
    """
    with phase("reading the configuration", brief=True):
        interface.library()
        config, usual = configured(words)
    ready, left_out = prepare(config, usual)
    for line in left_out:
        print(f"anisomem: left out: {line}", file=sys.stderr)
    blocks = interface.page(ready)
    address = interface.start(blocks, host, port)
    if not is_loopback(host):
        print(f"anisomem: whoever reaches {host} can ask, one at a time", file=sys.stderr)
    print(f"{address} (Ctrl-C ends it)", flush=True)
    try:
        Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        blocks.close(verbose=False)


def configured(words: Sequence[str]) -> tuple[Config, list[str]]:
    """The settings, and which of ``detector`` and ``mitigation`` the user has not chosen.

    A bundled model comes with its own prompts, of which examples and training pictures are known.

    Raises:
        UserError: Settings that are wrong, or an experiment of several cases.
    """
    usual = [] if experiment(words) else [f"experiment={catalog.DEMO}"]
    given = {one.key.partition(".")[0] for one in compose.checked(words)}
    configs = compose.cases([*usual, *words])
    if len(configs) > 1:
        raise UserError("the demo is of one model, and the experiment has several cases")
    (config,) = configs
    if OWN not in given and config.model_listed in catalog.names(OWN):
        (config,) = compose.cases([*usual, *words, f"{OWN}={config.model_listed}"])
    return config, [name for name in ("detector", "mitigation") if usual and name not in given]


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
