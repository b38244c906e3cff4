"""How pages look: colours as variables, on light ground and on dark, and plain type."""

# Whatever a page may hold, nothing is loaded and nothing runs. Data in the page are no requests.
SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root {
  color-scheme: light dark;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --ground: #ffffff; --panel: #f6f7f9; --ink: #1c2128; --faint: #5b6470; --grid: #dfe3e8;
  --line-1: #1f6feb; --line-2: #b35900; --line-3: #1a7f37;
  --line-4: #a0307e; --line-5: #6f42c1; --line-6: #0b7285;
  --good: #1a7f37; --bad: #b42318;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --panel: #1d2329; --ink: #e6e9ed; --faint: #a0a9b4; --grid: #343c45;
    --line-1: #6cb0ff; --line-2: #f0a04b; --line-3: #5fd07a;
    --line-4: #f08ccb; --line-5: #b79bff; --line-6: #5fd0e0;
    --good: #5fd07a; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 var(--sans); }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; }
ul { margin: 0; padding-left: 1.25rem; overflow-wrap: anywhere; }
.figures { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
figure { margin: 0; padding: .75rem; background: var(--panel); border-radius: .5rem;
  break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; }
svg text { font-family: var(--sans); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--grid); }
tbody th { font-weight: 400; }
thead th { color: var(--faint); font-weight: 600; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
dl { margin: 0; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (min-width: 40rem) {
  dl { display: grid; grid-template-columns: 13rem 1fr; gap: .4rem 1rem; }
  dt { margin: 0; }
}
@media (max-width: 40rem) {
  table { font-size: .85rem; }
  th, td { padding: .35rem .3rem; }
}
@media print {
  :root { color-scheme: light; --ground: #ffffff; --panel: #ffffff; --ink: #000000;
    --faint: #444444; --grid: #cccccc; }
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  figure, section > dl > *, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .figures { grid-template-columns: 1fr 1fr; }
}
"""
