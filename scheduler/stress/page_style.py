"""How the page looks. Light, so that it prints as it looks."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f3f5f9; color: #0f1728;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0 0 4px; }
p { margin: 0 0 6px; max-width: 46em; }
.quiet { color: #566176; font-size: 13px; max-width: none; }
.badge { float: right; padding: 6px 14px; border-radius: 999px; font-weight: 600; }
.badge.good { background: #e3f6ea; color: #15703a; }
.badge.bad { background: #fde8e6; color: #b3261e; }
.tiles { display: grid; gap: 12px; margin: 20px 0;
  grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); }
.tile, section { background: #fff; border: 1px solid #e1e6ee; border-radius: 12px; }
.tile { padding: 14px 16px; }
.figure { font-size: 26px; font-weight: 650; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
section { padding: 18px 20px; margin: 14px 0; break-inside: avoid; }
section.note { background: #fdf8ef; border-color: #f0dfc0; }
section.bad { border-color: #b3261e; }
section ul { margin: 6px 0 0; padding-left: 20px; color: #92510a; }
img { display: block; width: 100%; height: auto; margin-top: 8px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { font-weight: 500; font-size: 13px; color: #566176; }
th, td { text-align: right; padding: 5px 0 5px 18px; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody tr { border-top: 1px solid #e1e6ee; }
section.bad td { text-align: left; white-space: normal; }
summary { cursor: pointer; color: #1d5be0; }
pre { font-size: 12px; overflow-x: auto; }
"""
