"""Pages of a request and of the whole ledger: self-contained, escaped, running and loading nothing."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

HEADLINES = {
    "passed": "Every gate passed",
    "failed": "A gate failed",
    "not_measured": "Not measured",
}
STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1c1c1c;--soft:#595959;--line:#d9d9d9;--good:#17653a;--bad:#a3201d}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--ink:#ececec;--soft:#b0b0b0;--line:#3a3d42;--good:#7fd6a2;
--bad:#ff9d97}}
body{background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:72rem;margin:0 auto;padding:1rem}
h1,h2{line-height:1.2}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
small,.soft{color:var(--soft)}code{overflow-wrap:anywhere}
.passed,.promoted,.verified{color:var(--good)}.failed,.overdue,.rejected{color:var(--bad)}
dt{color:var(--soft)}dd{margin:0 0 .5rem}a{color:inherit}svg{max-width:100%}
figure{margin:0}.whole{white-space:nowrap}
@media(max-width:48rem){.stacks th{display:none}
.stacks tr{display:block;padding:.6rem 0;border-bottom:1px solid var(--line)}
.stacks td{display:flex;gap:1ch;border:0;padding:.1rem 0}.stacks td:empty{display:none}
.stacks td[data-name]::before{content:attr(data-name);flex:0 0 6rem;color:var(--soft)}}
"""


def pages() -> Environment:
    """The templates of this package; everything that enters them is escaped."""
    return Environment(
        loader=PackageLoader("razor_pipeline", "requests"),
        autoescape=select_autoescape(["j2", "html"]),
        undefined=StrictUndefined,
    )


def render_report(record: dict[str, Any]) -> str:
    """The page of one request.

    Args:
        record: of :meth:`razor_pipeline.requests.evidence.Evidence.record`.
    """
    figures = record["figures"]
    metrics = list(dict.fromkeys(metric for marks in figures.values() for metric in marks))
    return (
        pages()
        .get_template("report.html.j2")
        .render(
            record=record,
            headline=HEADLINES[record["outcome"]],
            models=list(figures),
            metrics=metrics,
            style=Markup(STYLE),
        )
    )
