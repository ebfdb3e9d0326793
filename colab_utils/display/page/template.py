"""The report page as a jinja2 template, and the frame of a notebook in it.

Styles and pictures are inside; only formulas ask for a script.
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Speech emotion recognition: results</title>
<style>
:root { --ink: #1a1a1a; --quiet: #595959; --line: #d9d9d9; --accent: #0b4f8a; --warn: #8a3600;
--warn-back: #fdf1e7; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; color: var(--ink); background: #fff;
font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 .3rem; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .6rem;
border-bottom: 2px solid var(--line); }
h3 { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; } a { color: var(--accent); }
.quiet { color: var(--quiet); font-size: .9rem; }
.stamp { margin: .5rem 0; padding: .3rem .7rem; border-left: 4px solid var(--warn);
background: var(--warn-back); color: var(--warn); }
article { margin: 1.2rem 0; padding: 1rem 1.2rem; border: 1px solid var(--line);
border-radius: 8px; break-inside: avoid; }
.mark { color: var(--warn); }
.headline { margin: .2rem 0; font-size: 1.35rem; font-weight: 600; }
.columns { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
.columns img { flex: 1 1 24rem; max-width: min(34rem, 100%); height: auto; } .columns > div
{ flex: 1 1 18rem; min-width: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
.wide { overflow-x: auto; } .settings td { overflow-wrap: anywhere; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line);
vertical-align: top; } .number { text-align: right; }
.bar { width: 9rem; } .bar span { display: block; height: .7rem; margin-top: .35rem;
background: #6fa8d6; }
summary { cursor: pointer; padding: .25rem 0; } details + details { margin-top: .2rem; }
iframe { width: 100%; height: 80vh; border: 1px solid var(--line); border-radius: 6px;
background: #fff; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; }
@media print { iframe, details { display: none; } }
</style>
</head>
<body>
<header>
<h1>Speech emotion recognition: results</h1>
<p>Results of speech emotion recognition: how well a method tells the emotion of recorded
utterances, as a rule of speakers it has never heard. Every number below follows from the file
<code>predictions.csv</code> of its run. Made on {{ made }}.</p>
<details{% if not runs %} open{% endif %}><summary>How to read this page</summary>
<dl>
<dt>UAR, unweighted average recall</dt><dd>For each emotion the share of its utterances that was
recognised; then the plain mean over emotions. A rare emotion counts as much as a frequent
one.</dd>
<dt>95 % interval</dt><dd>It holds the UAR over all speakers (or, if so named, films) of the same
kind in 95 of 100 cases: each test speaker in turn is left out. With fewer than four speakers, or
unknown ones, there is none.</dd>
<dt>WA, weighted accuracy</dt><dd>The share of all utterances that was recognised.</dd>
<dt>Chance and majority</dt><dd>What guessing reaches in UAR, and what always naming the most
frequent emotion reaches in WA.</dd>
<dt>Confusion matrix</dt><dd>Row: the true emotion. Column: the predicted one. Each cell: per cent
of the row, and the count beneath.</dd>
<dt>Coloured notes</dt><dd>Limits of a result that must be told wherever it is shown.</dd>
</dl></details>
</header>
<h2>Runs</h2>
{% if left_out %}<p class="quiet"><a href="#left-out">{{ left_out | length }}
{{- " folder is" if left_out | length == 1 else " folders are" }} left out</a>: not finished, or
nothing vouches for {{ "its" if left_out | length == 1 else "their" }} numbers.</p>{% endif %}
{% if runs %}
<div class="wide"><table>
<thead><tr>
<th scope="col">run</th>
<th scope="col" class="number">UAR</th>
<th scope="col">95 % interval</th>
<th scope="col" class="number">WA</th>
<th scope="col" class="number">chance</th>
<th scope="col" class="number">utterances</th>
<th scope="col" class="number">speakers</th>
</tr></thead>
<tbody>{% for run in runs %}<tr><td><a href="#{{ run.link }}">{{ run.method }}: {{ run.name }}</a>
{% for mark in run.stamps %}
<br><small class="mark">{{ mark.partition(":")[0] }}</small>
{% endfor %}</td>
<td class="number">{{ run.uar }}</td>
<td>{{ run.interval }}</td>
<td class="number">{{ run.wa }}</td>
<td class="number">{{ run.chance }}</td>
<td class="number">{{ run.utterances }}</td>
<td class="number">{{ run.speakers }}</td></tr>{% endfor %}</tbody>
</table></div>
{% for run in runs %}
<article id="{{ run.link }}">
<h3>{{ run.method }}: {{ run.name }}</h3>
<p class="headline">{{ run.headline }}</p>
<p>{{ run.rates }}; {{ run.sample }}. {{ run.pooling }}</p>
{% for mark in run.stamps %}<p class="stamp">{{ mark }}</p>{% endfor %}
{% for note in run.notes %}<p class="quiet">{{ note }}</p>{% endfor %}
<div class="columns">
{% if run.picture %}<img
alt="Confusion matrix of {{ run.method }}: {{ run.name }}; its recalls stand in the table beside it"
src="data:image/png;base64,{{ run.picture }}">{% endif %}
<div><table><caption class="quiet">Recall of each emotion</caption>
<tbody>{% for label, (value, width) in run.recalls.items() %}<tr><th scope="row">{{ label }}</th>
<td class="number">{{ value }}</td>
<td class="bar"><span style="width:{{ width }}%"></span></td></tr>{% endfor %}</tbody></table></div>
</div>
<details><summary>Settings</summary><div class="wide"><table class="settings"><tbody>
{% for name, value in run.settings.items() %}<tr><th scope="row">{{ name }}</th>
<td><code>{{ value }}</code></td></tr>{% endfor %}
</tbody></table></div></details>
<details><summary>Files</summary><ul>
{% for name, link in run.files.items() %}
<li><a href="{{ link }}">{{ name }}</a></li>
{% endfor %}
</ul></details>
<p class="quiet">Finished {{ run.when }}; run {{ run.hash }}.</p>
</article>
{% endfor %}
{% else %}<p>There is no finished run yet.</p>{% endif %}
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
