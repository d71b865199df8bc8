"""Signs, spaces and articles are those of the language: catalogues, a whole French page, and sentences by a table.

The rules and the sentences are the test's own: French by the Imprimerie nationale (a no-break space before a colon and
inside guillemets, a narrow one before the other tall signs), units by the SI brochure (a space that does not break).
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import msgspec
import pytest
from babel.messages.pofile import read_po

import reports
from edgeloop.store.freeze import Look
from edgeloop.store.rows import Estimate
from reports import numbers, punctuation
from reports.language import LANGUAGES, speaking
from reports.words import sentence
from scripts import make_catalogues
from tests import report_months
from tests.report_fixture import analysed

FOREIGN = LANGUAGES[1:]
FRENCH = re.compile(r"(?<!\u00a0):(?=\s|$)|(?<!\u202f)[;?!](?=\s|»|$)|«(?!\u00a0)|(?<!\u00a0)»")
"""What no French typesetter leaves."""
A_MARK = re.compile(r"^[?!]\s")
"""Of a state, which a sign begins: ``? inconnu``."""
LOOSE_UNIT = re.compile(r"(?:[0-9]|\}) (?:ms|s|h|min|pp|Pp|pt|%)(?![\w’])")
QUOTED = {"de": ("„", "“", '”«»"'), "fr": ("«", "»", '„"'), "pt": ("“", "”", '„«»"')}
"""Language → what opens, what closes, what is another language's."""


def texts(language: str) -> list[str]:
    """What a catalogue says."""
    with (make_catalogues.FOLDER / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    told = [m.string if isinstance(m.string, tuple) else (m.string,) for m in catalogue if m.id]
    return [str(text) for strings in told for text in strings]


def ids() -> list[str]:
    """What the code and the templates say, in English."""
    return [text for m in make_catalogues.messages() for text in (m if isinstance(m, tuple) else (m,))]


def test_french_has_its_spaces() -> None:
    assert [text for text in texts("fr") if FRENCH.search(A_MARK.sub("", text))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_unit_is_left_alone_on_the_next_line(language: str) -> None:
    assert [text for text in (ids() if language == "en" else texts(language)) if LOOSE_UNIT.search(text)] == []


@pytest.mark.parametrize("language", FOREIGN)
def test_quotation_marks_are_of_the_language(language: str) -> None:
    opens, closes, others = QUOTED[language]
    for text in texts(language):
        assert not set(others) & set(text), text
        assert text.count(opens) == text.count(closes), text


def test_signs_between_parts() -> None:
    signs = {}
    for language in LANGUAGES:
        with speaking(language):
            signs[language] = (punctuation.colon(), punctuation.semicolon(), *punctuation.quotation_marks())
    assert signs == {
        "en": (": ", "; ", "“", "”", "‘", "’"),
        "de": (": ", "; ", "„", "“", "‚", "‘"),
        "fr": ("\u00a0: ", "\u202f; ", "«\u00a0", "\u00a0»", "“", "”"),
        "pt": (": ", "; ", "“", "”", "‘", "’"),
    }


@pytest.mark.parametrize("name", ["everything", "twelve changes", "under repair"])
def test_a_french_page_has_its_spaces_everywhere(tmp_path: Path, name: str) -> None:
    """In texts, titles of charts and attributes, on the page and in the pack; titles and remarks have no such sign."""
    freeze = report_months.MONTHS[name](tmp_path / "f")
    freeze.manifest = msgspec.structs.replace(freeze.manifest, look=Look(locale="fr"))
    analysis = analysed(freeze)
    findings = reports.build(freeze, analysis)
    pack = reports.render_workshop(reports.workshop(freeze, analysis, findings))
    for html in (reports.render(findings), pack):
        css = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
        assert css is not None
        assert 'content:attr(data-label) "\u00a0: "' in css[1]
        bare = re.sub(r"<(style|code)>.*?</\1>", "", html, flags=re.DOTALL)
        parts = re.findall(r">([^<]+)<", bare) + re.findall(r'(?:data-label|aria-label|alt)="([^"]*)"', bare)
        told = [A_MARK.sub("", unescape(part).strip(" \n")) for part in parts]
        assert len(told) > 200
        found = [text[max(m.start() - 40, 0) : m.end() + 20] for text in told for m in FRENCH.finditer(text)]
        assert found == []


def test_the_first_of_a_month_in_french() -> None:
    with speaking("fr"):
        assert numbers.date_text(numbers.dt.date(2026, 2, 1)) == "1er février 2026"
        assert numbers.weekday_text(numbers.dt.date(2026, 2, 1)) == "dimanche 1er février"
        assert numbers.date_text(numbers.dt.date(2026, 2, 11)) == "11 février 2026"
        assert numbers.month("2026-02") == "février 2026"
    with speaking("de"):
        assert numbers.date_text(numbers.dt.date(2026, 2, 1)) == "1. Februar 2026"


# Metric and kind → what a fall from 0.5 to 0.9 of it (0.005 to 0.009 of a share) is called, randomised.
SENTENCES = {
    ("home/csat", "mean"): (
        "X lowered the satisfaction score (home survey) by 0.70 points",
        "X senkte die Zufriedenheit (Umfrage home) um 0,70 Punkte",
        "X a fait baisser la satisfaction (enquête home) de 0,70 point",
        "X reduziu a satisfação (questionário home) em 0,70 ponto",
    ),
    ("csat", "mean"): (
        "X lowered the satisfaction score by 0.70 points",
        "X senkte die Zufriedenheit um 0,70 Punkte",
        "X a fait baisser la satisfaction de 0,70 point",
        "X reduziu a satisfação em 0,70 ponto",
    ),
    ("nps", "nps"): (
        "X lowered the promoter score by 7.0 points",
        "X senkte die NPS-Wertung um 7,0 Punkte",
        "X a fait baisser le NPS de 7,0 points",
        "X reduziu o NPS em 7,0 pontos",
    ),
    ("ces", "mean"): (
        "X lowered the ease score by 0.70 points",
        "X senkte die Einfachheit um 0,70 Punkte",
        "X a fait baisser la facilité de 0,70 point",
        "X reduziu a facilidade em 0,70 ponto",
    ),
    ("home/rating", "mean"): (
        "X lowered the rating (home survey) by 0.70 points",
        "X senkte die Bewertung (Umfrage home) um 0,70 Punkte",
        "X a fait baisser la note (enquête home) de 0,70 point",
        "X reduziu a avaliação (questionário home) em 0,70 ponto",
    ),
    ("agent_rating", "mean"): (
        "X lowered the agent rating by 0.70 points",
        "X senkte die Zusteller-Bewertung um 0,70 Punkte",
        "X a fait baisser la note donnée par les livreurs de 0,70 point",
        "X reduziu a avaliação por agentes em 0,70 ponto",
    ),
    ("latency_p95", "quantile"): (
        "X lowered the p95 latency by 7.0\u00a0ms",
        "X senkte die Latenz p95 um 7,0\u00a0ms",
        "X a fait baisser la latence p95 de 7,0\u00a0ms",
        "X reduziu a latência p95 em 7,0\u00a0ms",
    ),
    ("error_rate", "ratio"): (
        "X lowered the error rate by 0.7 percentage points",
        "X senkte die Fehlerquote um 0,7 Prozentpunkte",
        "X a fait baisser le taux d’erreur de 0,7 point de pourcentage",
        "X reduziu a taxa de erros em 0,7 ponto percentual",
    ),
    ("over_budget", "ratio"): (
        "X lowered the share of requests over budget by 0.7 percentage points",
        "X senkte die Quote der Anfragen über dem Budget um 0,7 Prozentpunkte",
        "X a fait baisser la part des requêtes hors budget de 0,7 point de pourcentage",
        "X reduziu a proporção de consultas com tempo excedido em 0,7 ponto percentual",
    ),
    ("slot_rebooked", "proportion"): (
        "X lowered the share of customers with “slot rebooked” by 0.7 percentage points",
        "X senkte die Quote der Kunden mit „Lieferfenster umgebucht“ um 0,7 Prozentpunkte",
        "X a fait baisser la part des clients avec «\u00a0créneau modifié\u00a0» de 0,7 point de pourcentage",
        "X reduziu a proporção de clientes com “horário remarcado” em 0,7 ponto percentual",
    ),
    ("home/kind_words", "mean"): (
        "X lowered the metric “kind words (home survey)” by 0.70 points",
        "X senkte die Kennzahl „kind words (Umfrage home)“ um 0,70 Punkte",
        "X a fait baisser l’indicateur «\u00a0kind words (enquête home)\u00a0» de 0,70 point",
        "X reduziu a métrica “kind words (questionário home)” em 0,70 ponto",
    ),
}
SCALE = {"proportion": 0.01, "ratio": 0.01, "nps": 10.0, "quantile": 10.0, "mean": 1.0}


def fell(metric: str, kind: str, grade: str = "randomised") -> Estimate:
    """A clear fall."""
    return Estimate(
        freeze_id="f", month="2026-03", change_id="c", model_id="m", to_version="2", metric=metric, metric_kind=kind,
        unit="subject", grade=grade, effect=-0.7 * SCALE[kind], decision_low=-0.9 * SCALE[kind],  # type: ignore[arg-type]
        decision_high=-0.5 * SCALE[kind], decided_by="fixed",
    )  # fmt: skip


@pytest.mark.parametrize(("metric", "kind"), SENTENCES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_fell_stands_with_its_article(language: str, metric: str, kind: str) -> None:
    with speaking(language):
        told = sentence("X", fell(metric, kind))
    assert (
        told.partition(" (range")[0].partition(" (Spanne")[0].partition(" (fourchette")[0].partition(" (intervalo")[0]
        == SENTENCES[metric, kind][LANGUAGES.index(language)]
    )


@pytest.mark.parametrize(
    ("language", "wanted"),
    [
        ("en", "X was followed by a fall in the satisfaction score of 0.70 points (range 0.50 to 0.90)"),
        ("de", "X: danach fiel die Zufriedenheit um 0,70 Punkte (Spanne 0,50 bis 0,90)"),
        ("fr", "X a été suivi d’une baisse\u00a0: la satisfaction a diminué de 0,70 point (fourchette de 0,50 à 0,90)"),
        ("pt", "X foi seguida de uma queda: a satisfação desceu 0,70 ponto (intervalo de 0,50 a 0,90)"),
    ],
)
def test_what_fell_after_a_change_too(language: str, wanted: str) -> None:
    with speaking(language):
        assert sentence("X", fell("csat", "mean", "before_after")) == wanted
