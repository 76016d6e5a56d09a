"""What stands in a figure is what somebody wrote, in any script, and never a formula."""

import warnings

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from anisomem.report import literal, style

pytestmark = pytest.mark.usefixtures("rendered")
HOSTILE = ["$\\foo$", "sale $_$ items", "R&D | $5_x^2$ {a} 100%", "$", "a\x00b\x07", "\\", "_x"]


def drawn(*texts):
    """A figure with the texts wherever a text can stand."""
    figure, axis = plt.subplots(layout="constrained")
    for text in texts:
        axis.plot([1e-3, 1], [0, 1], label=f"other: {text}")
    axis.set(xlabel=texts[0], ylabel=texts[-1], title=texts[0], xscale="log")
    axis.set_yticks(range(len(texts)), texts)
    axis.annotate(texts[0], (0.5, 0.5))
    figure.suptitle(" ".join(texts))
    figure.legend()
    return figure


def test_dollars_are_dollars(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        path = style.save(drawn(*HOSTILE), tmp_path / "hostile")
    assert {file.name for file in tmp_path.iterdir()} == {"hostile.png", "hostile.svg"}
    assert path.stat().st_size > 1000
    assert not mpl.rcParams["text.parse_math"]


def test_control_characters_are_marked_and_lines_kept():
    figure = drawn("a\x07b\nc")
    literal.prepare(figure)
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == "a�b\nc"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["a�b\nc"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (r"$\mathdefault{10^{-2}}$", "10⁻²"),
        (r"$\mathdefault{2\times10^{3}}$", "2×10³"),
        (r"$\mathdefault{-10^{0}}$", "-10⁰"),
        ("", ""),
    ],
)
def test_powers_need_no_formula(formula, expected):
    assert literal.plain_power(formula) == expected


def test_ticks_of_a_log_axis_are_powers():
    figure = drawn("a")
    literal.prepare(figure)
    figure.draw_without_rendering()
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert "10⁻³" in labels and not any("$" in label for label in labels)
    plt.close(figure)


def test_another_script_comes_from_a_font_that_has_it(monkeypatch):
    has = frozenset({ord("漢")})
    monkeypatch.setattr(
        literal, "_installed", lambda: [("Has Nothing", frozenset()), ("Cjk", has)]
    )
    literal._family.cache_clear()
    figure = drawn("漢", "plain")
    monkeypatch.setattr(figure, "draw_without_rendering", lambda: None)  # there is no such font
    literal.prepare(figure)
    assert figure.axes[0].title.get_fontfamily() == [*mpl.rcParams["font.family"], "Cjk"]
    literal._family.cache_clear()
    plt.close(figure)


def test_installed_fonts_draw_letters_as_letters():
    names = [name for name, _ in literal._installed()]
    assert "DejaVu Sans" in names and not any(name.startswith(literal.UNFIT) for name in names)


def test_where_no_font_has_it_one_line_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(literal, "_installed", list)
    monkeypatch.setattr(literal, "_said", set())
    literal._family.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save(drawn("漢字"), tmp_path / "a")
        style.save(drawn("字"), tmp_path / "b")
    literal._family.cache_clear()
    assert len(caplog.messages) == 1 and "漢" in caplog.text and "字" in caplog.text


def test_a_figure_that_fails_costs_a_line_and_itself(tmp_path, caplog, monkeypatch):
    def fails():
        plt.subplots()
        raise ValueError("two\nlines")

    before = plt.get_fignums()
    assert style.attempt(fails, tmp_path / "roc-x") is None
    assert style.attempt(lambda: None, tmp_path / "none") is None
    assert caplog.messages == ["figure roc-x is left out: ValueError: two lines"]
    assert plt.get_fignums() == before and not list(tmp_path.iterdir())
    monkeypatch.setenv("ANISOMEM_DEBUG", "1")
    style.attempt(fails, tmp_path / "roc-x")
    assert "in fails" in caplog.messages[-1]


def test_same_figure_same_bytes(tmp_path):
    for name in ("a", "b"):
        style.save(drawn("x"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_long_title_is_broken():
    figure, _ = plt.subplots(figsize=(4, 3))
    figure.suptitle("word " * 40 + "\nsecond", fontsize=10)
    style._fold_title(figure)
    lines = figure._suptitle.get_text().split("\n")
    assert lines[-1] == "second" and len(lines) > 3
    assert max(map(len, lines)) * 0.58 * 10 <= 4 * 72
    plt.close(figure)
