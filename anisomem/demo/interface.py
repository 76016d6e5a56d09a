"""The page: what is asked and shown where. All that is shown is made in ``shown``.

Gradio draws it. It is asked for nothing but to listen where it is told: no telemetry, no link for
others, no font and no script from elsewhere, no uploads, nothing kept in the browser.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from anisomem.demo import shown
from anisomem.demo.answer import LONGEST, Answer, Demo
from anisomem.errors import UserError
from anisomem.report.tables import percent

if TYPE_CHECKING:
    import gradio as gr

INSTALL = "the demo is drawn by gradio: pip install 'anisomem[demo]'"
WAITING = 16  # who may wait for an answer; one more is told that the queue is full
SESSIONS = 64  # whose last answer is kept
MINUTES = 30  # for how long
ONE = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
#: Set before gradio is imported, which reads them then.
SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
EMPTY = ""
BEFORE = "The verdict stands here once a prompt is asked about."
SAMPLING = "Sampling pictures ..."


def library() -> Any:
    """Gradio, which sends nothing to anybody.

    Raises:
        UserError: It is not installed.
    """
    os.environ.update(SILENT)
    try:
        import gradio
    except ImportError:
        raise UserError(INSTALL) from None
    return gradio


def page(demo: Demo) -> gr.Blocks:
    """The page of a model that is ready.

    Raises:
        UserError: Gradio is not installed.
    """
    gr = library()
    with gr.Blocks(title=f"anisomem: {demo.name}", analytics_enabled=False) as blocks:
        gr.HTML(shown.heading(demo))
        answer = gr.State(None, time_to_live=60 * MINUTES)
        with gr.Row():
            with gr.Column(min_width=320):
                prompt = gr.Textbox(
                    label="Prompt",
                    lines=2,
                    max_lines=4,
                    max_length=LONGEST,
                    placeholder=f"what a picture is to show, {LONGEST} characters at most",
                    elem_id="prompt",
                )
                ask = gr.Button("Ask", variant="primary", elem_id="ask")
                examples = _examples(gr, demo, prompt)
                rate, detector = _choices(gr, demo)
            with gr.Column(min_width=320):
                verdict = gr.HTML(shown.waiting(BEFORE), elem_id="verdict")
        with gr.Row():
            with gr.Column(min_width=320):
                pictures = gr.HTML(EMPTY, elem_id="pictures")
            with gr.Column(min_width=320), gr.Column(visible=False) as further:
                which = gr.Button("Which words matter?", elem_id="which")
                words = gr.HTML(EMPTY, elem_id="words")
                how = gr.Radio(
                    list(demo.mitigations),
                    value=next(iter(demo.mitigations), None),
                    label="Mitigation",
                    visible=bool(demo.mitigations),
                    elem_id="how",
                )
                mitigate = gr.Button(
                    "Mitigate", visible=bool(demo.mitigations), elem_id="mitigate"
                )
                after = gr.HTML(EMPTY, elem_id="after")
        answering = _Handlers(gr, demo)
        asked = {
            "fn": answering.ask,
            "inputs": [prompt, detector, rate],
            "outputs": [answer, verdict, pictures, further, words, after],
            "show_progress_on": [verdict, pictures],
            **ONE,
        }
        ask.click(**asked)
        prompt.submit(**asked)
        if examples is not None:
            examples.load_input_event.then(**asked)
        for choice in (rate, detector):
            choice.change(answering.judge, [answer, detector, rate], verdict, **ONE)
        which.click(answering.words, [answer, detector], words, **ONE)
        mitigate.click(answering.mitigate, [answer, how], after, **ONE)
    return blocks.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)


def start(blocks: gr.Blocks, host: str, port: int | None) -> str:
    """Serves a page, in threads of its own; returns its address.

    Arguments:
        blocks: The page.
        host: The address that it listens on.
        port: The port; None takes a free one.

    Raises:
        UserError: The port is taken, or the host is none of this machine's.
    """
    gr = library()
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            max_file_size="1kb",
            state_session_capacity=SESSIONS,
            theme=gr.themes.Default(**fonts),
            css=files("anisomem.demo").joinpath("demo.css").read_text(encoding="utf-8"),
        )
    except OSError:
        raise UserError(
            f"cannot listen on {host}, port {port}: it is taken, or no address of this machine; "
            "give --port NUMBER"
        ) from None
    return str(address)


class _Handlers:
    """What the page's buttons do; a mistake of the user's is shown as one line.

    Arguments:
        gr: Gradio.
        demo: The model that is asked.
    """

    def __init__(self, gr: Any, demo: Demo) -> None:
        self._gr, self._demo = gr, demo

    def ask(self, prompt: str, detector: str, rate: float) -> Iterator[tuple[Any, ...]]:
        """The verdict at once, the pictures when they are there."""
        demo, column = self._demo, self._gr.Column
        with self._shown():
            scored = demo.score(prompt or "")
            said = shown.verdict(demo, scored, detector, rate)
            sampling = shown.waiting(SAMPLING)
            yield None, said, sampling, column(visible=False), EMPTY, EMPTY
            answer = Answer(scored, demo.generate(scored.prompt))
            made = shown.pictures(demo, scored, answer.generated)
            yield answer, said, made, column(visible=True), EMPTY, EMPTY

    def judge(self, answer: Answer | None, detector: str, rate: float) -> str:
        """The verdict by another detector or at another rate."""
        return self._of(answer, lambda one: shown.verdict(self._demo, one.scored, detector, rate))

    def words(self, answer: Answer | None, detector: str) -> str:
        """Which words matter."""

        def said(one: Answer) -> str:
            return shown.words(self._demo.words(one.scored.prompt, detector), detector)

        return self._of(answer, said)

    def mitigate(self, answer: Answer | None, name: str) -> str:
        """The prompt before and after a mitigation."""

        def said(one: Answer) -> str:
            result = self._demo.mitigate(one.scored.prompt, one.generated, name)
            return shown.mitigated(self._demo, result)

        return self._of(answer, said)

    def _of(self, answer: Answer | None, said: Callable[[Answer], str]) -> str:
        """What is said of the last answer; nothing where there is none yet."""
        if answer is None:
            return EMPTY
        with self._shown():
            return said(answer)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """What the user can mend is shown as it is."""
        try:
            yield
        except UserError as error:
            raise self._gr.Error(html.escape(str(error)), print_exception=False) from None


def _choices(gr: Any, demo: Demo) -> tuple[Any, Any]:
    """What a verdict depends on: the false-positive rate, and the detector."""
    rate = gr.Radio(
        [(percent(one), one) for one in demo.rates],
        value=demo.rates[0],
        label="False-positive rate",
        info="The share of ordinary prompts that may be flagged.",
        elem_id="rate",
    )
    keys = demo.scorer.keys
    return rate, gr.Radio(keys, value=keys[0], label="Verdict by", elem_id="detector")


def _examples(gr: Any, demo: Demo, prompt: Any) -> Any:
    """The prompts to begin with, where there are some."""
    if not demo.examples:
        return None
    return gr.Examples(
        [[one.prompt] for one in demo.examples],
        inputs=[prompt],
        example_labels=[f"{one.kind}: {one.prompt}" for one in demo.examples],
        cache_examples=False,
        api_visibility="private",
        elem_id="examples",
    )
