-- page_assets.lua - what every report page carries: its looks in light and dark, and the script
-- that sorts and filters its tables. No network, no library.
local M = {}

M.STYLE = [[
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--muted:#57606a;--frame:#8c959f;--grid:#e4e7eb;
--panel:#f6f8fa;--accent:#0072b2;--bad:#b54a00;--good:#005f95;
--s1:#0072b2;--s2:#d55e00;--s3:#009e73;--s4:#cc79a7;--s5:#e69f00;--s6:#56b4e9;--s7:#8c8c8c}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){--bg:#14171c;--fg:#e6e9ee;
--muted:#9aa4b0;--frame:#5b6470;--grid:#2b3038;--panel:#1c2027;--accent:#56b4e9;--bad:#f08a4b;
--good:#7cc4f0;--s1:#56b4e9;--s2:#f08a4b;--s3:#2fc598;--s4:#e09cc4;--s5:#f0bf4c;--s6:#9cd8f7;
--s7:#b3b3b3}}
:root[data-theme=dark]{--bg:#14171c;--fg:#e6e9ee;--muted:#9aa4b0;--frame:#5b6470;--grid:#2b3038;
--panel:#1c2027;--accent:#56b4e9;--bad:#f08a4b;--good:#7cc4f0;--s1:#56b4e9;--s2:#f08a4b;
--s3:#2fc598;--s4:#e09cc4;--s5:#f0bf4c;--s6:#9cd8f7;--s7:#b3b3b3}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1200px;padding:24px 20px 60px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,"DejaVu Sans",Verdana,sans-serif}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:36px 0 10px}
p{margin:6px 0}.muted{color:var(--muted)}
header{display:flex;gap:16px;align-items:flex-start;justify-content:space-between}
button.theme{border:1px solid var(--frame);background:var(--panel);color:var(--fg);
border-radius:6px;padding:4px 10px;font:inherit;cursor:pointer}
.cards{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}
.card{background:var(--panel);border-radius:8px;padding:8px 14px}
.card b{display:block;font-size:20px}.card span{color:var(--muted);font-size:13px}
figure{margin:14px 0;overflow-x:auto}
figure svg{width:100%;height:auto;display:block}
.scroll{overflow:auto;max-height:75vh;border:1px solid var(--grid);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th.l,td.l{text-align:left}td.note{white-space:normal;min-width:26em}
thead th{position:sticky;top:0;background:var(--panel);padding:0}
thead th button{all:unset;display:block;width:100%;padding:5px 10px;cursor:pointer;font-weight:600;
box-sizing:border-box;text-align:inherit}
thead th button:focus-visible{outline:2px solid var(--accent)}
th[aria-sort=ascending] button::after{content:" \25B2"}
th[aria-sort=descending] button::after{content:" \25BC"}
tbody tr:hover{background:var(--panel)}
.bad{color:var(--bad);font-weight:600}.good{color:var(--good);font-weight:600}
input[type=search]{font:inherit;padding:4px 8px;margin:0 0 8px;width:min(28em,100%);
border:1px solid var(--frame);border-radius:6px;background:var(--bg);color:var(--fg)}
@media print{.scroll{max-height:none}button.theme,input[type=search]{display:none}}
]]

-- A sorted table is named in the address (#sort=points:median:descending), so that a link keeps it.
M.SCRIPT = [[
"use strict";
(function () {
  var root = document.documentElement;
  function cellValue(row, i) {
    var cell = row.cells[i], v = cell.dataset.v;
    return v === undefined ? cell.textContent : Number(v);
  }
  function compare(a, b) {
    var x = typeof a === "number", y = typeof b === "number";
    if (x && y) return a - b;
    if (x !== y) return x ? -1 : 1;
    return a.localeCompare(b, "en", {numeric: true});
  }
  function sort(table, i, direction) {
    var heads = table.tHead.rows[0].cells, body = table.tBodies[0];
    var sign = direction === "descending";
    var rows = Array.from(body.rows).map(function (row, at) {
      return [cellValue(row, i), at, row];
    });
    rows.sort(function (a, b) {
      var missing = (a[0] === "-") - (b[0] === "-");
      if (missing) return missing;
      var c = compare(a[0], b[0]);
      return (sign ? -c : c) || a[1] - b[1];
    });
    rows.forEach(function (r) { body.appendChild(r[2]); });
    Array.from(heads).forEach(function (head, at) {
      if (at === i) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    });
  }
  function find(text) {
    var parts = decodeURIComponent(text).split(":"), table = document.getElementById(parts[0]);
    var heads = table && table.tHead ? Array.from(table.tHead.rows[0].cells) : [];
    var i = heads.findIndex(function (head) { return head.textContent === parts[1]; });
    if (i >= 0) sort(table, i, parts[2] === "descending" ? "descending" : "ascending");
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (head, i) {
      head.firstElementChild.addEventListener("click", function () {
        var direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        sort(table, i, direction);
        history.replaceState(null, "", "#sort=" + [table.id, head.textContent, direction]
          .map(encodeURIComponent).join(":"));
      });
    });
  });
  document.querySelectorAll("input[type=search]").forEach(function (input) {
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      var table = document.getElementById(input.dataset.table);
      Array.from(table.tBodies[0].rows).forEach(function (row) {
        var text = row.textContent.toLowerCase() + " " + (row.dataset.label || "");
        row.hidden = !words.every(function (word) { return text.includes(word); });
      });
    });
  });
  document.querySelector("button.theme").addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  if (location.hash.startsWith("#sort=")) find(location.hash.slice(6));
  root.dataset.ready = "yes";
})();
]]

return M
