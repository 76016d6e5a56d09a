"""Jobs in copies of a process: what they return, what they log, and what fails."""

import logging
import os
import signal
import struct
from multiprocessing.connection import Connection

import pytest

from anisomem.run import forked


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(forked, "_cores", lambda: 2)


def test_jobs_are_done_elsewhere_and_returned_in_their_order():
    held = {"text": "only in memory"}
    made = forked.each([lambda i=i: (i, held["text"], os.getpid()) for i in range(7)], "some", "")
    assert [i for i, _, _ in made] == list(range(7))
    assert {text for _, text, _ in made} == {"only in memory"}
    assert os.getpid() not in {process for _, _, process in made}


def test_more_jobs_than_a_pipe_holds_are_each_done_once(monkeypatch, tmp_path):
    monkeypatch.setattr(forked, "_cores", lambda: 8)  # that ask for the next job at one moment
    note = os.open(tmp_path / "done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    jobs = [lambda i=i: os.write(note, struct.pack("I", i)) and i for i in range(20_000)]
    assert forked.each(jobs, "some", "") == [*range(20_000)]
    done = struct.iter_unpack("I", (tmp_path / "done").read_bytes())
    assert sorted(i for (i,) in done) == [*range(20_000)]


def test_one_core_or_an_accelerator_does_them_here(monkeypatch):
    assert forked.each([os.getpid] * 3, "some", "", copied=False) == [os.getpid()] * 3
    monkeypatch.setattr(forked, "_cores", lambda: 1)
    assert forked.each([os.getpid] * 3, "some", "") == [os.getpid()] * 3


def test_what_they_log_is_said_once(caplog):
    def job():
        logging.getLogger("anisomem.somewhere").warning("seen in %s", "a job")

    forked.each([job] * 5, "some", "")
    assert caplog.messages == ["seen in a job"]


def test_an_error_is_raised_here_as_it_is():
    class OwnError(Exception):
        """Nothing that could be pickled."""

    def fail():
        raise OwnError("made to fail")

    with pytest.raises(OwnError, match="made to fail"):
        forked.each([int, fail, int], "some", "")


def test_the_jobs_of_a_killed_copy_are_done_here():
    here = os.getpid()

    def job(i):
        if i == 2 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    assert forked.each([lambda i=i: job(i) for i in range(6)], "some", "") == list(range(6))


def test_the_job_of_a_copy_that_dies_while_it_answers_is_done_here(monkeypatch):
    def cut_short(end, _):
        os.write(end.fileno(), struct.pack("!i", 100) + b"less")
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Connection, "send_bytes", cut_short)
    assert forked.each([os.getpid] * 3, "some", "") == [os.getpid()] * 3


def test_what_cannot_be_read_back_is_made_here():
    here = os.getpid()

    class Odd:
        def __reduce__(self):
            return int, ("no number",)

    made = forked.each([lambda: Odd() if os.getpid() != here else "here"] * 3, "some", "")
    assert made == ["here"] * 3


def test_notes_of_every_level_and_tracebacks_come_back(caplog):
    log = logging.getLogger("anisomem.somewhere")

    def job():
        log.info("a note")
        try:
            raise ValueError("made to fail")
        except ValueError:
            log.exception("an error")

    with caplog.at_level(logging.INFO, log.name):
        handlers, logging.root.handlers = logging.root.handlers, []  # as where nobody has set any
        log.addHandler(caplog.handler)
        try:
            forked.each([job] * 2, "some", "")
        finally:
            log.removeHandler(caplog.handler)
            logging.root.handlers = handlers
    assert caplog.messages == ["a note", "an error"]
    assert "ValueError: made to fail" in caplog.text
