"""What the pages of scores and of curves look like."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --back: #fbfbfa; --card: #fff; --ink: #1d2127; --dim: #636b76;
  --edge: #e1e3e6; --accent: #1769aa; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --card: #1c2025; --ink: #e6e8eb;
  --dim: #99a2ad; --edge: #31363d; --accent: #66b2ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--back);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; letter-spacing: -0.01em; }
header p { margin: 0.2rem 0 0; color: var(--dim); }
section { margin-top: 1.25rem; padding: 1.1rem 1.25rem; background: var(--card);
  border: 1px solid var(--edge); border-radius: 10px; }
h2 { margin: 0; font-size: 1.15rem; }
h3 { margin: 1.2rem 0 0.2rem; font-size: 1rem; }
h4 { flex: 0 0 4.5rem; margin: 0; font-size: 0.85rem; font-weight: 500; color: var(--dim); }
.note { margin: 0.2rem 0 0.8rem; max-width: 60rem; font-size: 0.85rem; color: var(--dim); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.9rem 0.35rem 0; text-align: right; white-space: nowrap; }
th:first-child { position: sticky; left: 0; background: var(--card); text-align: left; }
tbody th { font-weight: 600; }
thead th { vertical-align: bottom; font-weight: 500; color: var(--dim); white-space: normal; }
th.words, td.words { padding-left: 0.9rem; text-align: left; white-space: normal;
  overflow-wrap: break-word; }
td.words:last-child { min-width: 14rem; padding-right: 0; }
.name { display: inline-block; width: max-content; max-width: min(20rem, 30vw);
  vertical-align: middle; white-space: normal; overflow-wrap: anywhere; }
tbody tr { border-top: 1px solid var(--edge); }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem; }
.charts figure { flex: 0 1 14rem; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem 0; }
.curves figure { flex: 1 1 24rem; min-width: 0; }
figure { margin: 0; }
figcaption { font-size: 0.8rem; color: var(--dim); overflow-wrap: anywhere; }
figcaption b { color: var(--ink); font-weight: 600; }
svg { display: block; width: 100%; }
svg text { font-size: 10px; fill: var(--dim); }
svg .up { text-anchor: end; }
svg .across { text-anchor: middle; }
.grid { stroke: var(--edge); fill: none; }
polyline { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
polyline.dashed { stroke-dasharray: 4 3; stroke: var(--dim); }
polyline.ideal { stroke: var(--dim); stroke-width: 1; }
.dots { fill: var(--accent); }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 1rem; margin: 0.6rem 0; }
.patch { width: min-content; }
.pictures { display: flex; gap: 3px; }
.pictures img { height: 132px; width: auto; image-rendering: pixelated; border-radius: 3px; }
@media (max-width: 34rem) { body { padding: 1rem 0.5rem; } section { padding: 0.8rem; }
  h4 { flex-basis: 100%; } .pictures img { height: 76px; } .row { gap: 0.6rem; } }
.line { display: inline-block; width: 1.3rem; height: 3px; margin-right: 0.6rem;
  border-radius: 2px; vertical-align: middle; }
.key { display: inline-flex; align-items: center; gap: 0.4rem; margin-right: 1.1rem; }
.key i { width: 0.8rem; height: 0.8rem; border: 1px solid var(--edge); border-radius: 2px; }
.tn { background: rgb(0 0 0); } .tp { background: rgb(46 204 88); }
.fn { background: rgb(255 56 50); } .fp { background: rgb(64 125 255); }
.null { background: rgb(92 96 104); }
"""
