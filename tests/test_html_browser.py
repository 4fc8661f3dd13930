"""The page in a real browser: Debian's Chromium, headless, from a file, as a person opens it.

Skipped where there is no Chromium (`apt-get install chromium`); the browserless half is in test_html.py.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support import golden_sweeps, large, synthetic
from support.once import once
from support.pages import HOSTILE, made

from orchestrator.page import html
from orchestrator.records import OBSERVED, PASS, JobResult
from orchestrator.results import load, tables
from orchestrator.results.metrics import COLUMNS
from orchestrator.store import SweepFolder
from orchestrator.views.answer import pieces

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright (in the extra 'dev')")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

ATTEMPTS = (  # to send something out of the page, to the address that takes the place of ADDRESS
    "fetch('ADDRESS').then(() => 'sent', () => 'refused')",
    """new Promise((done) => {
      const image = new Image();
      Object.assign(image, { onerror: () => done("refused"), onload: () => done("sent"), src: "ADDRESS" });
    })""",
    """new Promise((done) => {
      const script = document.createElement("script");
      Object.assign(script, { onerror: () => done("refused"), onload: () => done("sent"), src: "ADDRESS" });
      document.head.append(script);
    })""",
)
INLINE_SCRIPT = """new Promise((done) => {
  const script = document.createElement("script");
  script.textContent = "window.ran = 1";
  document.head.append(script);
  setTimeout(() => done(window.ran ?? "refused"), 50);
})"""
FILTER = """update({ q: "model07", sort: "-speedup" })"""


@dataclass
class Opened:
    """A page and what it did: messages of its console, uncaught errors, and whatever it asked for but its own file."""

    page: Any
    troubles: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def until(self, expression: str, seconds: float = 20.0) -> None:
        """Wait for an expression to be true. Playwright's own way evaluates text in the page, which it forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            self.page.wait_for_timeout(30)

    def click_until_said(self, button: Any, word: str) -> None:
        """Click a button and wait until it has said a word, be it for a moment, and where it is shown no more."""
        watch = "new MutationObserver(() => window.said.push(button.textContent)).observe(button, {childList: true})"
        button.evaluate(f"(button) => {{ window.said = []; {watch}; }}")
        button.click()
        self.until(f"window.said.includes('{word}')")

    def drawn(self) -> None:
        """Wait until all charts are drawn, also those out of sight."""
        self.until("[...drawn].every((card) => !card.dirty && !card.place.style.minHeight)")

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).inner_text().split())

    def rows(self) -> list[list[str]]:
        """Return the rows of the table that exist as elements: the texts of their cells."""
        return [
            [" ".join(c.split()) for c in row.locator("th, td").all_inner_texts()]
            for row in self.page.locator("#rows .rows tr").all()
        ]

    def axis(self, chart: str) -> list[str]:
        """Return the words, not the numbers, on a chart's axes."""
        texts = self.page.locator(f"{chart} g.role-axis-label text").all_text_contents()
        return [text for text in texts if text and not text.replace(".", "").isdigit()]

    def shown(self) -> str:
        """Return what the filters say is shown."""
        return self.text("#filter-count")


class Browser:
    """Opens pages in contexts of their own. At the end none of them may have had troubles."""

    def __init__(self, chromium: Any) -> None:
        self.chromium = chromium
        self.opened: list[Opened] = []

    def open(
        self, file: Path, fragment: str = "", *, width: int = 1280, theme: str = "light", folded: bool = False
    ) -> Opened:
        """Open a page, and all that is folded on it."""
        context = self.chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = Opened(context.new_page())
        page.page.on("console", lambda message: page.troubles.append(f"{message.type}: {message.text}"))
        page.page.on("pageerror", lambda error: page.troubles.append(f"error: {error}"))
        page.page.on("dialog", lambda dialog: (page.troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        own = file.as_uri()
        page.page.on(
            "request", lambda request: own == request.url.partition("#")[0] or page.troubles.append(request.url)
        )
        page.page.goto(own + fragment)
        page.page.wait_for_selector("html[data-ready]", state="attached")
        if not folded:
            page.page.evaluate("void unfold()")
        self.opened.append(page)
        return page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Browser]:
    made = Browser(chromium)
    yield made
    for page in made.opened:
        assert page.troubles == []
        page.page.context.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """The sweep of four models with everything that happens, and a log where there was a crash."""
    folder = synthetic.quick_sweep(tmp_path_factory.mktemp("page") / "2026-11-21" / "10-00-00").write()
    crashed = next(job for job in folder.read_graph().jobs if job.workload.model == "ElectraForCausalLM" and job.needs)
    folder.log_file(crashed.id).write_text("compiling\nSegmentation fault\n")
    folder.page.write_text(made(folder))
    return folder


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        results = large.results(folder)
        html.write_file(folder / "report.html", [(results, tables.build(results))])

    return once(tmp_path_factory, "ten_thousand", make) / "report.html"


# -- what is on it


def test_the_top_says_what_ran_and_how_it_went(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    assert page.title() == "2026-11-21/10-00-00 · orchestrator"
    assert page.text("#measured .command code") == "python -m orchestrator orchestrator"
    (inductor,) = [text for text in page.texts(".executive tbody tr") if text.startswith("inductor")]
    speedup = "1.34x * [1.33, 1.34] n = 3 [0.40, 4.43] 1.37x n = 3 ▲ 2 ≈ 0 ▼ 1"
    assert inductor == f"inductor 75 % 3/4 [30, 95] {speedup} 24.1 s n = 3 +16 % n = 3 3 of 4"
    assert page.texts("#flags li")[0].startswith("! accuracy ✕ fail accuracy ElectraForCausalLM")
    assert "! speed-up 0.93x, 1.02 times the limit GPT2ForSequenceClassification" in page.texts("#flags li")[-1]
    assert "killed by SIGSEGV (signal 11)" in page.texts("#failures ol > li")[0]
    assert page.texts("#disturbed li") == [
        "* T5Small · inference · float16 · cpu · batch 4 · inductor round 3: other processes used 0.62 cores (over 0.1)"
    ]


def test_figures_are_written_as_everywhere_else(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    values = (0, 1, 0.95, 1.005, 12.345, 999.4, 1234.6, 98765.4, 1.5e6, 2.5e-5, -3.2, 1e12)
    names = ["speedup", "latency_ms", "own_memory_mib", "pass_rate_percent", "rmse", "cosine", "graphs", "model"]
    for name in names:
        for value in (*values, None):
            shown = page.evaluate("([name, value]) => figure(name, value)", [name, value])
            expected = COLUMNS[name].text(value)
            halfway = COLUMNS[name].kind == "count" and value is not None and value != int(value)
            assert shown == expected or halfway or name == "model", (name, value)


def test_every_chart_is_drawn(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    page.drawn()
    page.until("document.querySelectorAll('figure.chart svg.marks').length >= 9")
    charts = page.texts("figure.chart h3")
    assert charts == [
        "Time against memory",
        "Compile latency, cold and warm",
        "Latency distributions",
        "Peak memory by phase",
    ]
    panels = page.texts("#chart-latency h4")
    assert sorted(panels) == ["DistilBertForMaskedLM", "ElectraForCausalLM", "GPT2ForSequenceClassification", "T5Small"]
    points = page.locator("#chart-latency .panel").nth(panels.index("T5Small")).locator("g.mark-symbol path").count()
    assert points == 10 * 20  # five processes of eager, five of inductor, each with its twenty samples


def test_where_compile_time_goes_is_drawn_where_torch_told(browser: Browser, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for number, phases in enumerate(({"dynamo": 2.0, "kernel_compilation": 3.0, "first_run": 0.1}, {"dynamo": 1.0})):
        eager = sweep.performance("A", "eager", number)
        sweep.performance("A", "inductor", number, baseline=eager, pairs=[(0.3, 0.1)] * 20, compile_phases=phases)
    sweep.performance("B", "aot_eager", compile_phases={"dynamo": 1.0})
    folder = sweep.write()
    folder.page.write_text(made(folder))
    page = browser.open(folder.page)
    page.locator("#chart-compile_phases").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-compile_phases svg.marks")
    assert page.texts("#chart-compile_phases h4") == ["quick · inference · float16 · cpu"]
    bars = "document.querySelectorAll('#chart-compile_phases g.mark-rect path').length"
    assert page.evaluate(bars) == 5
    page.select_option("#filter-compiler", "inductor")
    page.until(f"{bars} === 4")
    page.evaluate("update({ compiler: '', q: 'B' })")  # a row that passes stands for its compiler and section
    page.until(f"{bars} === 1")
    page.evaluate("update({ status: 'crash' })")
    page.until(f"{bars} === 0")
    assert page.text("#chart-compile_phases > .count") == "Nothing of what is filtered has these figures."


def test_loss_curves_are_drawn_where_models_were_trained(browser: Browser, tmp_path: Path) -> None:
    """One picture a model and compiler, means over seeds; a page of nothing else has it, too."""
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for model in "ABCDEFGHIJKLMN":
        curves = [
            {"training_seed": seed, "training_step": step, "eager_loss": 4.0 - step + seed, "loss": 4.0 - step}
            for seed in (0, 1)
            for step in range(3)
        ]
        spec = replace(synthetic.job(model, "inductor", "training_loss"), kind=OBSERVED)
        spec = replace(spec, measure=replace(spec.measure, target="orchestrator.measures.training_loss.TrainingLoss"))
        facts = {"findings": {"loss_curves": curves}}
        sweep.add(spec, JobResult(job_id=spec.id, status=PASS, facts=facts, started=0.0, ended=1.0))
    folder = sweep.write()
    folder.page.write_text(made(folder))
    page = browser.open(folder.page)
    pictures = "document.querySelectorAll('#chart-loss_curves svg.marks').length"
    page.until(f"{pictures} === 12")
    assert page.text("#chart-loss_curves > .count") == "12 of 14 trainings."  # no order: nothing sorts them
    page.locator("#chart-loss_curves").get_by_label("At most").select_option("24")
    page.until(f"{pictures} === 14")
    page.evaluate("update({ q: 'm', compiler: 'inductor' })")
    page.until(f"{pictures} === 1")
    assert page.texts("#chart-loss_curves h4") == ["M · inductor"]
    assert page.locator("#chart-loss_curves g.mark-line path").count() == 2
    page.evaluate("update({ q: '', compiler: 'openvino' })")
    page.until(f"{pictures} === 0")
    first = page.evaluate("DATA.loss_curves[0].points")
    assert first == [[0, 4.5, 4.0], [1, 3.5, 3.0], [2, 2.5, 2.0]]


def test_with_several_compilers_there_is_a_heat_map_that_says_why_a_figure_is_missing(
    browser: Browser, tmp_path: Path
) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for model in ("A", "B"):
        eager = sweep.performance(model, "eager")
        sweep.performance(model, "inductor", baseline=eager, pairs=[(0.3, 0.1)] * 20)
        spec = synthetic.job(model, "openvino")
        sweep.add(spec, synthetic.failed_result(spec, "out_of_memory", "too large"))
    folder = sweep.write()
    folder.page.write_text(made(folder))
    page = browser.open(folder.page)
    page.locator("#chart-heat_map").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-heat_map svg.marks")
    assert page.locator("#chart-heat_map g.mark-text.role-mark text").all_text_contents() == [
        "3.00",
        "3.00",
        "out of memory",
        "out of memory",
    ]


# -- the answer


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """Three compilers on five models: inductor is faster, aot_eager as fast, openvino slower, and breaks on one."""
    sweep = synthetic.SyntheticSweep(tmp_path_factory.mktemp("several") / "s")
    for number, model in enumerate(("Bert", "Albert", "T5", "Swin", "Llama")):
        eager = sweep.performance(model, "eager", first_call=0.2)
        for compiler, speedup in (("openvino", 0.8), ("inductor", 1.1 + 0.3 * (number * 2 % 5)), ("aot_eager", 1.0)):
            if (model, compiler) == ("T5", "openvino"):
                spec = synthetic.job(model, compiler)
                sweep.add(spec, synthetic.failed_result(spec, "crash", "killed by SIGSEGV"))
                continue
            sweep.performance(
                model,
                compiler,
                baseline=eager,
                pairs=[(0.1 * (1 + i % 3 / 500), 0.1 / speedup) for i in range(20)],
                peak_mib=600 + 40 * number + (200 if compiler == "aot_eager" else 0),
                first_call=20 - number,
                disturbed=["other processes used 0.62 cores (over 0.1)"] if model == "Swin" else [],
            )
            sweep.accuracy(synthetic.workload(model, batch_size=1), compiler)
    folder = sweep.write()
    folder.page.write_text(made(folder))
    return folder


def test_the_title_is_the_answer(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, folded=True)
    said = pieces(tables.build(load.load(folder)), "the sweep", imported=False)[0]
    assert page.texts("h1") == [said.text]  # as in the terminal
    assert "WRONG on 1 of 4 models" in said.text
    facts = page.texts(".answer-facts li")
    assert facts[0] == "1.34x [1.33, 1.34] geometric mean · faster on 2 of 3, slower on 1"
    assert facts[1] == "3/4 correct 1 WRONG"
    assert facts[2].startswith("24.1 s cold pays off after about ")
    assert facts[3] == "+16 % memory steady peak over eager's"
    command = page.text(".caution code")
    assert command.startswith("python -m orchestrator show 2026-11-21/10-00-00:")
    page.click_until_said(page.locator(".caution button"), "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == command
    about = ["1970-01-01 00:16:40 UTC", "quick", "inference", "float16", "cpu", "2 threads", "4 models", "36 jobs"]
    assert page.text(".meta") == " ".join(about)
    assert page.locator("details.fold[open]").count() == 0  # all else is folded


def test_compilers_are_a_forest_plot_of_their_means_and_models(browser: Browser, several: SweepFolder) -> None:
    page = browser.open(several.page)
    lines = page.texts("#compilers tbody tr")
    assert [line.split()[0] for line in lines] == ["inductor", "aot_eager", "openvino"]  # the best mean first
    assert re.match(r"inductor 1.\d\dx \* \[1.\d\d, 1.\d\d\] n = 4 ✓ 5/5", lines[0])
    assert "✓ 4/4" in lines[2]
    plots = page.locator("#compilers svg.forest-plot")
    label = plots.first.get_attribute("aria-label")
    assert re.match(r"inductor: geometric mean 1.\d\dx \[.*\]; 5 models from 1.10x to 2.30x", label)
    assert plots.first.locator("path").count() == 1  # the diamond
    assert [plots.first.locator(kind).count() for kind in ("circle.filled", "circle.hollow")] == [4, 1]
    diamond = plots.first.locator("path").bounding_box()
    places = [dot.bounding_box()["x"] for dot in plots.first.locator("circle").all()]
    assert min(places) < diamond["x"] < max(places)


def test_models_say_what_is_sure_and_no_more(browser: Browser, several: SweepFolder) -> None:
    page = browser.open(several.page)
    bert = page.texts("#models tbody:has(th:text-is('Bert')) tr")
    assert re.match(r"Bert inductor fastest ▲ 1.10x \[1.10, 1.10\] 100 → 90.9 ms 300 → 300 MiB \+0 % ✓ pass", bert[0])
    swin = page.locator("#models tbody:has(th:text-is('Swin')) tr").first
    assert "▲? 1.40x" in swin.inner_text()  # one process, beside other work
    assert swin.locator(".good").filter(has_text="x").count() == 0
    assert swin.locator("circle.hollow:not(.good)").count() == 1
    crash = page.texts("#models tbody:has(th:text-is('T5')) tr")[-1]
    assert crash == "openvino ✕ crash killed by SIGSEGV —"
    assert page.evaluate(
        "[...document.querySelectorAll('.forest .number:not(.wrap)')]"
        ".every((cell) => getComputedStyle(cell).whiteSpace === 'nowrap')"
    )


@pytest.mark.parametrize("order", ["", "-speedup", "-compile_latency_cold_s", "model"])
def test_all_charts_have_one_order(browser: Browser, several: SweepFolder, order: str) -> None:
    page = browser.open(several.page)
    page.drawn()  # once, those out of sight too: they are to be drawn again
    page.select_option("#order", order)
    page.drawn()
    models = page.texts("#models th.model")
    assert len(models) == 5
    by_speedup = ["Bert", "Swin", "Albert", "Llama", "T5"]
    by_name = ["Albert", "Bert", "Llama", "Swin", "T5"]
    expected = {"": by_speedup, "-speedup": by_speedup[::-1], "model": by_name}
    assert models == expected.get(order, ["Bert", "Albert", "T5", "Swin", "Llama"])
    for chart in ("heat_map", "compilation"):
        page.locator(f"#chart-{chart}").scroll_into_view_if_needed()
        page.until(f"[...document.querySelectorAll('#chart-{chart} g.role-axis-label text')].length > 4")
        page.drawn()
        labels = [text for text in page.axis(f"#chart-{chart}") if text in by_name]
        assert labels == models, chart
    for chart in ("latency", "phases"):
        page.locator(f"#chart-{chart}").scroll_into_view_if_needed()
        page.drawn()
        assert page.texts(f"#chart-{chart} h4") == models, chart
    compilers = ["inductor", "aot_eager", "openvino"]
    assert page.texts("#compilers tbody th") == compilers
    assert [text.split()[0] for text in page.texts("#models tbody:first-of-type th.compiler")] == compilers
    assert page.texts("#chart-phases .legend li") == ["eager", *compilers]
    assert [text.split()[0] for text in page.texts(".executive tbody tr:not(.group) th")] == ["eager", *compilers]


def test_time_against_memory_has_names_and_the_front(browser: Browser, several: SweepFolder) -> None:
    page = browser.open(several.page)
    page.locator("#chart-tradeoff").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-tradeoff svg.marks")
    names = page.locator("#chart-tradeoff g.mark-text.role-mark text").all_text_contents()
    assert sorted(name.split(" · ")[0] for name in names) == ["aot_eager", "eager", "inductor", "openvino"]
    assert page.locator("#chart-tradeoff g.mark-line path").count() == 1
    assert page.locator("#chart-tradeoff .legend").count() == 0


def test_pairs_do_not_read_like_growth_of_memory(browser: Browser, tmp_path: Path) -> None:
    place = golden_sweeps.STORED / "real" / "performance_1"
    results = load.load(SweepFolder(place))
    html.write_file(tmp_path / "page.html", [(results, tables.build(results))])
    page = browser.open(tmp_path / "page.html")
    panel = page.locator("#chart-phases .panel").first
    panel.scroll_into_view_if_needed()
    panel.locator("svg.marks").wait_for()
    labels = [text for text in panel.locator("g.role-axis-label text").all_text_contents() if not text.isdigit()]
    assert labels[-2:] == ["steady", "pairs(with eager)"]
    lines = panel.locator("g.mark-line path")
    assert all(path.get_attribute("d").count("L") == len(labels) - 2 for path in lines.all())  # it ends at "steady"
    assert panel.locator("g.mark-symbol path[fill='transparent']").count() == 1  # only the compiler has pairs


# -- for every eye


def test_every_picture_says_what_it_shows(browser: Browser, several: SweepFolder) -> None:
    page = browser.open(several.page)
    page.drawn()
    pictures = page.locator("main svg:not([aria-hidden]):not(svg svg):not(summary svg), main canvas")
    assert pictures.count() > 25
    for picture in pictures.all():
        assert picture.get_attribute("role") == "img"
        assert len(picture.get_attribute("aria-label")) > 15
    titles = ["Time against memory", "Model by compiler", "Compile latency, cold and warm"]
    for label in ("Latency distributions, T5", "Peak memory by phase, T5"):
        assert page.locator(f"svg[aria-label^='{label}']").count() == 1
    assert all(page.locator(f"svg[aria-label^='{title}']").count() == 1 for title in titles)


def test_the_dark_page_is_dark_everywhere(browser: Browser, several: SweepFolder) -> None:
    page = browser.open(several.page, theme="dark")
    page.drawn()
    legend = page.evaluate(
        "[...document.querySelectorAll('#chart-phases .sign')].map((sign) => getComputedStyle(sign).backgroundColor)"
    )
    marks = page.evaluate(
        "[...document.querySelectorAll('#chart-phases .panel:first-child g.mark-line path')]"
        ".map((line) => getComputedStyle(line).stroke)"
    )
    assert sorted(legend) == sorted(marks)  # the legend has the colours of the marks
    cells = page.evaluate(
        "[...document.querySelectorAll('#chart-heat_map g.mark-rect path')].map((cell) => getComputedStyle(cell).fill)"
    )
    texts = page.locator("#chart-heat_map g.mark-text.role-mark text")
    inks = texts.evaluate_all("all => all.map((text) => getComputedStyle(text).fill)")
    fills = dict(zip(texts.all_text_contents(), inks, strict=True))
    neutral = [cell for cell in cells if cell.startswith("rgb(") and max(_rgb(cell)) - min(_rgb(cell)) < 25]
    assert neutral
    for cell in neutral:
        assert _brightness(cell) < 70, "a cell without a difference must not glow"
        assert _contrast(_hex(cell), _hex(fills["1.00"])) >= 4.5
    page.click("#theme")
    page.until("document.querySelector('#theme').textContent === 'Theme: light'")
    page.locator("#chart-phases").scroll_into_view_if_needed()
    sign = "getComputedStyle(document.querySelectorAll('#chart-phases .sign')[1]).backgroundColor"
    page.until(f"{sign} !== '{legend[1]}'")


def test_a_telephone_shows_the_answer_on_its_first_screen(browser: Browser, several: SweepFolder) -> None:
    page = browser.open(several.page, width=400, folded=True)
    for selector in ("h1", ".answer-facts", ".caution"):
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] < 900
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
    page.evaluate("void unfold()")
    page.drawn()
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_an_accuracy_job_begins_with_its_errors(browser: Browser, several: SweepFolder, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for model, error in (("Good", 5e-5), ("Bad", 6e-4)):
        status = "pass" if error < 2e-4 else "fail_accuracy"
        sweep.accuracy(synthetic.workload(model, batch_size=1), "inductor", error=error, status=status)
    folder = sweep.write()
    folder.page.write_text(made(folder))
    page = browser.open(folder.page)
    assert page.text("h1") == "inductor is WRONG on 1 of 2 models: largest error 3.00 times what is allowed (Bad)"
    assert page.texts(".answer-facts strong") == ["1/2 correct", "3.00x"]
    assert [text.split()[0] for text in page.texts("#models tbody tr")] == ["Bad", "Good"]  # the largest error first
    assert "0.25 ✓ pass" in page.texts("#models tbody tr")[1]
    assert page.locator("#chart-tradeoff, #chart-latency").count() == 0  # nothing was timed
    page.locator("#models tbody tr").first.locator("td").first.click()
    first, second = page.texts("#errors tbody tr")
    assert first == "logits 4 \u00d7 128 6.00e-04 2.00e-04 6.00e-04 rmse ✕ fail accuracy"
    assert second.startswith("loss")
    assert "error 3.0 of what is allowed" in page.locator("#errors tbody svg").first.get_attribute("aria-label")
    order = "[...document.querySelectorAll('#errors, #job .tiles')].map((one) => one.id)"
    assert page.evaluate(order) == ["errors", ""]


def test_what_is_folded_opens_where_it_is_needed(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, folded=True)
    assert page.text("#attention summary") == "What deserves a look ✕ 1 failed, ! 3 flagged, * 1 disturbed"
    page.get_by_role("button", name="All rows").click()
    assert page.locator("#rows").is_visible()
    page.locator("#attention summary").click()
    page.get_by_role("button", name="✕ 1 rows with a failure").click()
    assert page.shown() == "1 of 8 rows"
    linked = browser.open(folder.page, "#sort=-speedup", folded=True)
    assert linked.locator("#rows").is_visible()
    assert linked.locator("#charts[open]").count() == 0


# -- using it


def test_sorting_by_click_and_by_key(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    head = page.locator("#rows").get_by_role("columnheader", name="speed-up")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [row[2].split("x")[0] for row in page.rows()[:3]] == ["0.93", "1.11", "2.31"]
    assert page.rows()[3][2] in ("baseline", "—")  # what is missing comes last
    page.keyboard.press("Enter")  # the button still has the focus
    assert head.get_attribute("aria-sort") == "descending"
    assert [row[2].split("x")[0] for row in page.rows()[:3]] == ["2.31", "1.11", "0.93"]
    assert page.rows()[3][2] in ("baseline", "—")
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    assert page.rows()[0][:2] == ["DistilBertForMaskedLM batch 4 · length 128", "eager"]


def test_filters_are_in_the_address_and_a_link_reproduces_them(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    assert page.shown() == "8 rows"
    page.fill("#filter-q", "t5 SMALL")
    page.until("document.getElementById('filter-count').textContent === '2 of 8 rows'")
    page.select_option("#filter-compiler", "inductor")
    assert page.shown() == "1 of 8 rows"
    page.locator("#rows").get_by_role("columnheader", name="latency").get_by_role("button").click()
    fragment = page.evaluate("location.hash")
    assert fragment == "#q=t5+SMALL&compiler=inductor&sort=latency_ms"
    again = browser.open(folder.page, fragment)
    assert again.input_value("#filter-q") == "t5 SMALL"
    assert [row[:2] for row in again.rows()] == [["T5Small batch 4 · length 128", "inductor"]]
    again.click("#filter-reset")
    assert again.shown() == "8 rows"
    assert again.evaluate("location.hash") == "#sort=latency_ms"
    again.select_option("#filter-mark", "disturbed")
    assert [row[0].split()[0] for row in again.rows()] == ["T5Small"]
    again.select_option("#filter-mark", "failed")
    assert {row[0].split()[0] for row in again.rows()} == {"ElectraForCausalLM"}


def test_charts_follow_the_filters(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, "#q=T5Small")
    page.wait_for_selector("#chart-compilation svg.marks")
    assert page.axis("#chart-compilation") == ["T5Small"]
    assert page.texts("#models th.model") == ["T5Small"]
    page.fill("#filter-q", "nothing has this name")
    page.locator("#chart-compilation").scroll_into_view_if_needed()
    page.until("document.querySelector('#chart-compilation .count').textContent.startsWith('Nothing')")
    assert page.text("#models .models") == "No compiler's row is filtered."
    assert page.shown() == "0 of 8 rows"


def test_a_row_leads_to_its_job_and_back(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, "#compiler=inductor")
    page.locator("#rows .rows").get_by_role("link", name="T5Small").click()
    assert page.text("#job h2") == "T5Small inference · float16 · cpu · inductor · performance · round 0"
    assert page.locator("#overview").is_hidden()
    assert page.text("#job .command code").startswith("python -m orchestrator suite=quick 'suite.models=[T5Small]'")
    page.wait_for_selector("#chart-job_samples svg.marks")
    assert page.locator("#chart-job_samples g.mark-symbol path").count() > 40
    rounds = page.texts("#job .relatives > div:first-child li")
    assert [text for text in rounds if text.startswith("performance")][3] == "performance round 3, 2.30x ✓ pass"
    page.get_by_role("link", name="performance round 3").click()
    assert "other processes used 0.62 cores" in page.text("#job")
    page.get_by_role("link", name="baseline: eager performance round 3").click()
    assert "eager" in page.text("#job h2")
    for name in ("Facts", "Environment", "Configuration"):
        page.locator("#job summary", has_text=name).click()
    assert "suite.target orchestrator.suites.huggingface.HuggingFaceModel" in page.text("#job")
    assert page.get_by_role("link", name="log.txt").get_attribute("href").startswith("jobs/")
    for _ in range(3):
        page.go_back()
    assert page.locator("#job").is_hidden()
    assert page.shown() == "4 of 8 rows"  # the filter is still there
    page.get_by_role("button", name="Theme").focus()


def test_a_failed_job_shows_why(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    page.locator("#failures a").first.click()
    text = page.text("#job")
    assert "✕ crash killed by SIGSEGV (signal 11)" in text
    assert "compiling Segmentation fault" in text  # the end of its log, open
    page.click("#job .back")
    page.locator("#flags a").first.click()
    assert "accuracy" in page.text("#job h2")
    assert "fail accuracy" in page.text("#job")


def test_a_job_that_is_not_there_is_said_to_be_missing(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, "#job=0000000000000000")
    assert "No such job" in page.text("#job")


def test_a_click_anywhere_on_a_row_opens_it_but_copying_does_not(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, "#compiler=inductor&q=T5Small")
    copy = page.locator("#rows .rows").get_by_role("button", name="Copy the command of T5Small")
    page.click_until_said(copy, "Copied")
    assert page.locator("#job").is_hidden()
    assert "'suite.models=[T5Small]' compiler=inductor" in page.evaluate("navigator.clipboard.readText()")
    page.locator("#rows .rows td").nth(2).click()
    assert page.locator("#job").is_visible()


def test_columns_can_be_added(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    page.drawn()  # charts above it that are drawn move it, and a click beside it opens nothing
    page.locator(".chooser summary").click()
    page.get_by_label("captured calls").check()
    assert page.evaluate("location.hash") == "#columns=captured_calls"
    head = page.locator("#rows thead th").all_inner_texts()
    assert head[-1] == "captured calls"
    assert [row[-1] for row in page.rows() if row[1] == "inductor"] == ["50", "—", "50", "50"]


def test_rules_are_explained_to_keyboard_and_mouse(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    about = page.locator(".executive thead th", has_text="clipped").locator("button.tip")
    about.focus()
    assert page.text("#tip") == COLUMNS["geomean_speedup_clipped"].doc
    assert about.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.locator(".executive thead th", has_text="pass rate").locator("button.tip").hover()
    assert page.text("#tip") == COLUMNS["pass_rate_percent"].doc


def test_everything_can_be_reached_by_tab(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    seen = []
    for _ in range(140):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("(e => e.id || e.className || e.textContent.slice(0, 30))(document.activeElement)"))
    assert seen[0] == "skip"
    assert {"theme", "filter-q", "filter-compiler", "sort", "tip", "scroller short"} <= set(seen)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") is not None
    page.keyboard.press("Enter")


def test_theme_follows_the_system_until_one_is_chosen(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, theme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.text("#theme") == "Theme: light"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert _brightness(dark) < 60 < 200 < _brightness(light)
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
    page.evaluate("void unfold()")
    page.locator("#chart-compilation").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-compilation svg.marks")
    ink = page.locator("#chart-compilation g.role-axis-label text").first.get_attribute("fill")
    page.click("#theme")
    page.locator("#chart-compilation").scroll_into_view_if_needed()
    page.until(f"document.querySelector('#chart-compilation g.role-axis-label text')?.getAttribute('fill') !== '{ink}'")


def _brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_can_be_read_on_their_background(browser: Browser, folder: SweepFolder, theme: str) -> None:
    """WCAG 2.2, AA: a contrast of 4.5 for all text colours on all backgrounds that they stand on."""
    page = browser.open(folder.page, theme=theme)
    names = ["ink", "faint", "accent", "good", "bad", "warn", "page", "card", "stripe", "hover"]
    found = page.evaluate(
        "names => names.map((n) => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())", names
    )
    colour = dict(zip(names, found, strict=True))
    for text in names[:6]:
        for ground in names[6:]:
            assert _contrast(colour[text], colour[ground]) >= 4.5, (text, ground)


def _rgb(colour: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def _hex(colour: str) -> str:
    return "#" + "".join(f"{part:02x}" for part in _rgb(colour))


def _contrast(one: str, other: str) -> float:
    values = sorted((_luminance(one), _luminance(other)))
    return (values[1] + 0.05) / (values[0] + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_makes_the_page_scroll_sideways(browser: Browser, folder: SweepFolder, width: int) -> None:
    page = browser.open(folder.page, width=width)
    page.drawn()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#rows .rows a").first.click()
    page.wait_for_selector("#chart-job_samples svg.marks")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_paper_has_all_rows_and_no_controls(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page, theme="dark", folded=True)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.fold:not([open])").count() == 0
    page.drawn()
    assert page.locator("figure.chart svg.marks").count() >= 9
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in ("#bar", ".filters button", ".chooser", ".tip"):
        assert page.locator(hidden).first.is_hidden()
    assert len(page.rows()) == 8
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.fold[open]").count() == 0
    assert page.pdf().startswith(b"%PDF")


# -- what it must not do


def test_no_request_can_leave_the_page(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    page.drawn()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for attempt in ATTEMPTS:
            assert page.evaluate(attempt.replace("ADDRESS", address)) == "refused"
        with pytest.raises(TimeoutError):  # nobody has called
            listener.accept()
    assert sum("Content Security Policy" in text for text in page.troubles) >= 3
    page.troubles.clear()


def test_code_made_of_text_does_not_run(browser: Browser, folder: SweepFolder) -> None:
    page = browser.open(folder.page)
    result = page.evaluate(INLINE_SCRIPT)
    assert result == "refused"
    assert all("Content Security Policy" in text for text in page.troubles)
    page.troubles.clear()


def test_hostile_names_are_only_text(browser: Browser, tmp_path: Path) -> None:
    image = "<img src=x onerror=alert(2)>"
    sweep = synthetic.SyntheticSweep(tmp_path / "s", overrides=[f"suite.models=[{HOSTILE}]"])
    eager = sweep.performance(HOSTILE, "eager")
    sweep.performance(HOSTILE, image, baseline=eager, pairs=[(0.2, 0.1)] * 20, disturbed=[HOSTILE])
    spec = synthetic.job(f'"><svg onload=alert(3)>{HOSTILE}', image)
    sweep.add(spec, synthetic.failed_result(spec, "crash", f"</script>{HOSTILE}{image}"))
    folder = sweep.write()
    folder.log_file(spec.id).write_text(f"{HOSTILE}\n</pre>{image}\n")
    folder.page.write_text(made(folder))
    page = browser.open(folder.page)
    page.drawn()
    assert page.rows()[-1][0].startswith(HOSTILE)
    page.locator("#chart-compilation g.mark-symbol path").first.hover(force=True)
    page.wait_for_timeout(100)
    page.locator("#failures a").first.click()
    assert f"</script>{HOSTILE}{image}" in page.text("#job")
    assert f"{HOSTILE} </pre>{image}" in page.text("#job")
    for name in ("Facts", "Configuration"):
        page.locator("#job summary", has_text=name).click()
    assert page.locator("img, #page script, #job script, #overview script").count() == 0


# -- ten thousand rows


@pytest.mark.slow
def test_ten_thousand_rows_do_not_freeze_it(browser: Browser, ten_thousand: Path) -> None:
    page = browser.open(ten_thousand)
    assert ten_thousand.stat().st_size < 15_000_000
    assert page.shown() == "10,000 rows"
    assert len(page.rows()) < 60
    page.evaluate("goTo('table')")
    page.evaluate("document.querySelector('.scroller').scrollTop = 1e9")
    page.until("document.querySelector('#rows .rows tr:last-child').getAttribute('aria-rowindex') === '10001'")
    assert page.rows()[-1][1] == "openvino"
    page.evaluate(FILTER)
    assert page.shown() == "200 of 10,000 rows"
    assert page.evaluate("document.querySelector('.scroller').scrollTop") == 0
    speedups = [float(row[2].split("x")[0]) for row in page.rows()[:10]]
    assert speedups == sorted(speedups, reverse=True)


@pytest.mark.slow
def test_charts_of_ten_thousand_rows_show_the_worst_and_say_so(browser: Browser, ten_thousand: Path) -> None:
    page = browser.open(ten_thousand)
    page.locator("#chart-compilation").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-compilation .marks")
    assert page.text("#chart-compilation > .count") == "8 of 1,000 workloads, slowest first."
    page.select_option("#order", "fastest first")
    assert page.evaluate("location.hash") == "#order=-speedup"
    page.locator("#chart-compilation").scroll_into_view_if_needed()
    page.until("document.querySelector('#chart-compilation > .count').textContent.includes('fastest first')")
    page.locator("#chart-compilation").get_by_label("At most").select_option("16")
    assert page.text("#chart-compilation > .count") == "16 of 1,000 workloads, fastest first."
    page.locator("#chart-latency").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-latency .marks")
    assert "this page has no room for all samples" in page.text("#chart-latency > .count")


@pytest.mark.slow
def test_the_keyboard_can_walk_through_the_long_table(browser: Browser, ten_thousand: Path) -> None:
    page = browser.open(ten_thousand, "#compiler=inductor")
    page.locator("#rows .rows a").first.focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        page.wait_for_timeout(5)
    place = page.evaluate("document.activeElement.closest('tr')?.getAttribute('aria-rowindex')")
    assert place is not None
    assert int(place) > 15


# -- several sweeps, and one that runs


def test_several_sweeps_stand_side_by_side_and_over_time(browser: Browser, tmp_path: Path) -> None:
    folders = []
    for number, speedup in enumerate((2.0, 1.5, 1.0)):
        sweep = synthetic.SyntheticSweep(tmp_path / "2026-11-21" / f"1{number}-00-00")
        for model in ("A", "B"):
            for round in range(3):
                eager = sweep.performance(model, "eager", round, latency=0.1)
                ratio = speedup if model == "A" else 2.0
                pairs = [(0.1, 0.1 / ratio)] * 20
                sweep.performance(model, "inductor", round, baseline=eager, latency=0.1 / ratio, pairs=pairs)
        folder = sweep.write()
        header = json.loads(folder.sweep_file.read_text())
        folder.sweep_file.write_text(json.dumps({**header, "created": 1e9 + number}))
        folders.append(folder)
    sweeps = [(results, tables.build(results)) for results in map(load.load, folders)]
    html.write_file(tmp_path / "three.html", sweeps)
    page = browser.open(tmp_path / "three.html")
    assert page.text("#top h1") == "3 sweeps: against the first, speed-ups are 2 worse, 2 within noise"
    first, second = page.texts(".compare tbody tr")
    assert first.startswith("A inductor 2.00x")
    assert "1.50x [1.50, 1.50] ▼ worse 0.750x" in first
    assert "1.00x [1.00, 1.00] ▼ worse 0.500x" in first
    assert second.count("≈ within noise") == 2
    page.select_option("#metric", "latency_ms")
    assert page.evaluate("location.hash") == "#metric=latency_ms"
    assert "100 ms ▼ worse 2.00x" in page.texts(".compare tbody tr")[0]
    page.locator("#time").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-over_time svg.marks")
    assert page.locator("#chart-over_time g.mark-symbol path").count() >= 3
    page.select_option("#filter-sweep", "2026-11-21/11-00-00")
    assert page.shown() == "4 of 12 rows"
    page.until("document.querySelectorAll('#chart-over_time g.mark-symbol.role-mark path').length === 1")
    page.locator("#rows .rows a").first.click()
    assert re.fullmatch(
        r"#sweep=.*&job=1%3A[0-9a-f]{16}",
        page.evaluate("location.hash").replace("metric=latency_ms&", "").replace("&metric=latency_ms", ""),
    )
    assert page.get_by_role("link", name="log.txt").get_attribute("href").startswith("2026-11-21/11-00-00/jobs/")


def test_a_running_sweep_says_so_and_its_page_reloads_itself(browser: Browser, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.performance("A", "eager")
    sweep.add(synthetic.job("B", "eager"))
    folder = sweep.write()
    folder.page.write_text(made(folder, running=True))
    page = browser.open(folder.page, "#q=A")
    assert page.text(".running") == "running, 1 of 2 jobs"
    folder.write_result(synthetic.performance_result(sweep.jobs[1]))
    folder.page.write_text(made(folder))
    page.wait_for_selector("#top .meta:not(:has(.running))", timeout=15_000)
    assert page.text("#top .meta").endswith("2 jobs")
    assert page.input_value("#filter-q") == "A"
    assert page.locator(".running").count() == 0


def test_an_unfinished_sweep_is_not_called_running(browser: Browser, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.performance("A", "eager")
    sweep.add(synthetic.job("B", "eager"))
    folder = sweep.write()
    folder.page.write_text(made(folder))
    assert browser.open(folder.page).text(".running") == "1 of 2 jobs have a result"


@pytest.mark.parametrize("kinds", [("accuracy",), ()])
def test_sweeps_without_timings_have_a_page_too(browser: Browser, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    if kinds:
        sweep.accuracy("Bert", "inductor")
    else:
        sweep.add(synthetic.job("Bert", "inductor", "reference"))
    folder = sweep.write()
    folder.page.write_text(made(folder))
    page = browser.open(folder.page)
    page.drawn()
    assert len(page.rows()) == len(kinds)
