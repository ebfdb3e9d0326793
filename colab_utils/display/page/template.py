"""The report page as a jinja2 template, and the frame of a notebook in it.

Styles and pictures are inside; only formulas ask for a script.
"""

PAGE = """{% macro settings(title, values) %}
<details><summary>{{ title }}</summary><div class="wide"><table><tbody>
{% for name, value in values.items() %}<tr><th scope="row">{{ name }}</th>
<td><code>{{ value }}</code></td></tr>{% endfor %}
</tbody></table></div></details>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Speech emotion recognition: results</title>
<style>
:root { --ink: #1a1a1a; --quiet: #595959; --line: #d9d9d9; --accent: #0b4f8a; --warn: #8a3600;
--warn-back: #fdf1e7; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: clamp(.6rem, 3vw, 1.5rem); max-width: 60rem; color: var(--ink);
background: #fff; font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0 0 .3rem; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .6rem;
border-bottom: 2px solid var(--line); }
h3 { display: inline; font-size: 1.1rem; } a { color: var(--accent); }
.quiet { color: var(--quiet); font-size: .9rem; }
.stamp { margin: .5rem 0; padding: .3rem .7rem; border-left: 4px solid var(--warn);
background: var(--warn-back); color: var(--warn); }
.question { margin: .6rem 0; padding: .4rem .8rem; border: 1px solid var(--line);
border-radius: 8px; }
.heads, .run > summary { display: grid; grid-template-columns: 1fr 5rem 8rem; gap: 0 .8rem; }
.heads { color: var(--quiet); font-size: .9rem; } .heads :nth-child(n+2),
.run > summary > :nth-child(n+2) { text-align: right; font-variant-numeric: tabular-nums; }
.run > summary { padding: .3rem 0; border-top: 1px solid var(--line); }
.run > summary span:first-child::before { content: "\\25B8\\00A0"; }
.run[open] > summary span:first-child::before { content: "\\25BE\\00A0"; }
.run[open] { padding-bottom: .8rem; }
.mark { display: block; color: var(--warn); }
.headline { margin: .4rem 0; font-size: 1.25rem; font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
.wide { overflow-x: auto; }
th, td { padding: .25rem .5rem; text-align: left; border-bottom: 1px solid var(--line);
vertical-align: top; } .number { text-align: right; }
caption { text-align: left; } .matrix { overflow-wrap: normal; }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: 400; }
.matrix td { padding: .15rem .3rem; text-align: center; line-height: 1.1; white-space: nowrap; }
.matrix small { display: block; font-size: .65rem; font-weight: 400; }
.matrix .dark { color: #fff; }
.matrix [style] { min-width: 2.1rem;
background: rgb(11 79 138 / calc(var(--share) * 1%)); }
summary { cursor: pointer; padding: .25rem 0; } details + details { margin-top: .2rem; }
iframe { width: 100%; height: 80vh; border: 1px solid var(--line); border-radius: 6px;
background: #fff; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; }
@media (max-width: 34rem) { h1 { font-size: 1.35rem; } .headline { font-size: 1.05rem; }
.heads { display: none; } .run > summary { grid-template-columns: 1fr auto; }
.run > summary > :first-child { grid-column: 1 / -1; } .run > summary > :nth-child(2)
{ text-align: left; } .matrix { font-size: .75rem; } .matrix td { padding: .1rem; }
.matrix [style] { min-width: 1.6rem; } }
@media print { iframe { display: none; } }
</style>
</head>
<body>
<header>
<h1>Speech emotion recognition: results</h1>
<p>How well a method tells the emotion of recorded utterances, as a rule of speakers it has never
heard. Every number below follows from the file <code>predictions.csv</code> of its run. Made on
{{ made }}.</p>
<details{% if not questions %} open{% endif %}><summary>How to read this page</summary>
<dl>
<dt>Questions</dt><dd>Runs stand together that tested the same utterances, emotions, shots and
noise: like with like. The newest question is first; in it, the best run. The best of twenty is
better than it should be.</dd>
<dt>UAR, unweighted average recall</dt><dd>For each emotion the share of its utterances that was
recognised; then the plain mean over emotions. A rare emotion counts as much as a frequent
one.</dd>
<dt>95 % interval</dt><dd>It holds the UAR over all speakers (or, if so named, films) of the same
kind in 95 of 100 cases: each test speaker in turn is left out. With fewer than four speakers, or
unknown ones, there is none.</dd>
<dt>WA, weighted accuracy</dt><dd>The share of all utterances that was recognised.</dd>
<dt>Chance and majority</dt><dd>What guessing reaches in UAR, and what always naming the most
frequent emotion reaches in WA.</dd>
<dt>Confusion matrix</dt><dd>Row: the true emotion, and its recall. Column: the predicted one. Each
cell: per cent of the row, and the count beneath.</dd>
<dt>Coloured notes</dt><dd>Limits of a result that must be told wherever it is shown.</dd>
</dl></details>
</header>
<h2>Runs</h2>
{% if left_out %}<p class="quiet"><a href="#left-out">{{ left_out | length }}
{{- " folder is" if left_out | length == 1 else " folders are" }} left out</a>: not finished, or
nothing vouches for {{ "its" if left_out | length == 1 else "their" }} numbers.</p>{% endif %}
{% for sweep in sweeps %}<p><b>Sweep {{ sweep.name }}</b>: {{ sweep.told }}.</p>{% endfor %}
{% if not questions %}<p>There is no finished run yet.</p>{% endif %}
{% for question in questions %}
<details class="question"{% if loop.first %} open{% endif %}>
<summary><h3>{{ question.title }}</h3> <span class="quiet">{{ question.runs | length }}
{{- " run" if question.runs | length == 1 else " runs" }}, best UAR {{ question.runs[0].uar }}
</span></summary>
<div class="heads"><span>run</span><span>UAR</span><span>95 % interval</span></div>
{% set first = loop.first %}
{% for run in question.runs %}
<article id="{{ run.link }}">
<details class="run"{% if first and run is sameas question.newest %} open{% endif %}>
<summary><span>{{ run.method }}: {{ run.name }}
{%- for mark in run.stamps %}<small class="mark">{{ mark.partition(":")[0] }}</small>{% endfor %}
</span><b>{{ run.uar }}</b><span>{{ run.interval }}</span></summary>
<p class="headline">{{ run.headline }}</p>
<p>{{ run.rates }}; {{ run.sample }}. {{ run.pooling }}</p>
{% for mark in run.stamps %}<p class="stamp">{{ mark }}</p>{% endfor %}
{% for note in run.notes %}<p class="quiet">{{ note }}</p>{% endfor %}
<div class="wide"><table class="matrix"><caption class="quiet">
{{- "Confusion matrix: a row is the true emotion, with its recall" if run.rows[0].cells else
"Recall of each emotion" }}</caption>
<thead><tr><td></td>{% if run.rows[0].cells %}
{% for label in run.labels %}<th scope="col">{{ label }}</th>{% endfor %}
{% endif %}</tr></thead>
<tbody>{% for row in run.rows %}<tr><th scope="row">{{ row.label }}
{{- "" }}<small>{{ row.recall }}</small></th>
{% for share, count in row.cells %}<td style="--share:{{ share }}"
{%- if share > 75 %} class="dark"{% endif %}>{{ share }}<small>{{ count }}</small></td>
{%- endfor %}</tr>
{% endfor %}</tbody></table></div>
{{ settings("Settings in which it differs" if run.method in question.common else "Settings",
run.settings) }}
<details><summary>Files</summary><ul>
{% for name, link in run.files.items() %}
<li><a href="{{ link }}">{{ name }}</a></li>
{% endfor %}
</ul></details>
<p class="quiet">Finished {{ run.when }}; run {{ run.hash }}.</p>
</details></article>
{% endfor %}
{% for method, common in question.common.items() %}
{{ settings("Settings that all runs of " ~ method ~ " have here", common) }}
{% endfor %}
</details>
{% endfor %}
{% if left_out %}
<h2 id="left-out">Left out</h2>
<p class="quiet">No number of these is shown. Running the notebook again finishes what was stopped;
what was copied, edited or damaged has to be deleted first.</p>
<div class="wide"><table class="settings">
<thead><tr><th scope="col">folder</th><th scope="col">why</th><th scope="col">last
written</th></tr></thead>
<tbody>{% for run in left_out %}<tr><td>{{ run.folder }}</td>
<td>{{ run.problem }}</td><td class="quiet">{{ run.when }}</td></tr>{% endfor %}</tbody>
</table></div>
{% endif %}
{% if notebooks %}
<h2>Notebooks, as they were run</h2>
{% for notebook in notebooks %}
<details><summary>{{ notebook.name }}</summary>
{% if notebook.html %}<iframe title="{{ notebook.name }}" loading="lazy"
sandbox="allow-scripts allow-popups" srcdoc="{{ notebook.html }}"></iframe>
{% else %}<p class="stamp">{{ notebook.problem }}</p>{% endif %}
<p><a href="{{ notebook.link }}">{{ notebook.link }}</a></p></details>
{% endfor %}
{% endif %}
</body>
</html>
"""

NOTEBOOK = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><style>
body { margin: 0 auto; padding: 1rem 1.5rem; max-width: 60rem; color: #1a1a1a;
font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
pre { margin: .3rem 0; font: 13px/1.4 "DejaVu Sans Mono", monospace; white-space: pre-wrap;
overflow-wrap: anywhere; }
.highlight { margin-top: 1rem; padding: .2rem .7rem; border: 1px solid #ddd; border-radius: 4px;
background: #f7f7f7; }
.output_subarea, .jp-OutputArea-output { padding: .2rem .7rem; overflow-x: auto; }
.prompt, .anchor-link { display: none; }
img { max-width: 100%; height: auto; } a { color: #0b4f8a; }
table { border-collapse: collapse; font-size: .9em; } th, td { padding: .15rem .6rem;
border-bottom: 1px solid #ddd; text-align: right; }
.output_stderr, .output_error { background: #fdf1e7; }
COLOURS
</style>
<script type="text/x-mathjax-config">MathJax.Hub.Config({tex2jax: {inlineMath: [["$", "$"]],
processEscapes: true}});</script>
<script async src="https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/latest.js?config=TeX-AMS_CHTML-full,Safe"></script>
</head><body>BODY</body></html>
"""
