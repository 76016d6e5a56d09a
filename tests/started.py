"""Commands that begin at once, as copies of a process that has imported what they need.

Each is a process of its own, with its group, signals, exit code and environment, as the installed
command is; what is spared is the seconds in which Python imports the libraries. This file is also
the program that is copied.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module

#: What a run comes to import.
NEEDED = (
    "anisomem.benchmark.complete",
    "anisomem.cli.main",
    "anisomem.models.diffusers_unet",
    "anisomem.report.report",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "transformers.models.clip.modeling_clip",
)
WORDS = 1 << 16  # bytes of a request


class Server:
    """Starts commands; it ends with the process that has begun it."""

    def __init__(self):
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            command = [sys.executable, __file__, str(there.fileno())]
            subprocess.Popen(command, pass_fds=[there.fileno()], stdout=subprocess.DEVNULL)

    def start(self, *words, cwd=None, cores=None):
        """The command ``anisomem`` with these words, as :class:`Started`.

        Arguments:
            words: Of the command line.
            cwd: Its folder, if not this process's.
            cores: Those that it sees, if not all.
        """
        request = {
            "words": [str(word) for word in words],
            "cwd": str(cwd or os.getcwd()),
            "environment": dict(os.environ),
            "cores": list(cores or os.sched_getaffinity(0)),
        }
        ends = [os.pipe() for _ in range(3)]
        message = json.dumps(request).encode()
        socket.send_fds(self._here, [message], [written for _, written in ends])
        for _, written in ends:
            os.close(written)
        return Started(words, *(read for read, _ in ends))


class Started:
    """A command that has begun, with what :class:`subprocess.Popen` has of it."""

    def __init__(self, words, out, err, told):
        self.words, self.returncode = words, None
        self._told, self._texts = os.fdopen(told, "rb", buffering=0), {out: b"", err: b""}
        self.pid = int(self._told.readline())

    def poll(self):
        """The exit code, negative of a signal; None while it runs."""
        if self.returncode is None and _readable([self._told], 0):
            self.returncode = os.waitstatus_to_exitcode(int(self._told.readline()))
        return self.returncode

    def communicate(self, timeout=None):
        """What it says until it ends, on stdout and on stderr."""
        end = None if timeout is None else time.monotonic() + timeout
        open_ends = [*self._texts]
        while open_ends:
            left = None if end is None else end - time.monotonic()
            ready = _readable(open_ends, left)
            if not ready:
                raise subprocess.TimeoutExpired(self.words, timeout)
            for descriptor in ready:
                if said := os.read(descriptor, 1 << 16):
                    self._texts[descriptor] += said
                else:
                    open_ends.remove(descriptor)
                    os.close(descriptor)
        _readable([self._told], None)
        self.poll()
        return tuple(text.decode() for text in self._texts.values())

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)


def _readable(files, seconds):
    """Those of some files of which something can be read, or the end, within so many seconds."""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(seconds)]


def serve(requests):
    """Copies this process for every request; returns in a copy alone, or when nobody asks more."""
    for name in NEEDED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the one that waits
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, WORDS, 3)
        if not message:
            return 0
        if not os.fork():
            return _begin(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _begin(request, out, err, told):
    """Says the number of a copy that runs the command, waits for it and says how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        os.setsid()
        os.close(told)
        for given, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(given, standard)
            os.close(given)
        sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, (0, 1, 2), "rww", (-1, -1, 1))
        return _command(**request)
    os.close(out)
    os.close(err)
    os.write(told, f"{child}\n".encode())
    os.write(told, f"{os.waitpid(child, 0)[1]}\n".encode())
    os._exit(0)


def _command(words, cwd, environment, cores):
    from anisomem.cli.main import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    os.sched_setaffinity(0, cores)
    sys.argv = ["anisomem", *words]
    return main()


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(sys.executable)  # as it is of the installed command
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))
