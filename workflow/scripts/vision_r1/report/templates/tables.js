// A click on a column's head sorts its table: numbers from high to low first, names from A to Z, then the other way,
// then as written. What is missing comes last, a line of sums or means stays at the end. A long table can be filtered.
// Without this script the page is whole.
"use strict";

// Return the heads of single columns by column, also where a head spans rows or a group of columns stands above.
function heads(head) {
  const taken = [...head.rows].map(() => []), found = [];
  [...head.rows].forEach((row, y) => {
    let x = 0;
    for (const cell of row.cells) {
      while (taken[y][x]) x++;
      for (let down = 0; down < cell.rowSpan && y + down < taken.length; down++)
        for (let right = 0; right < cell.colSpan; right++) taken[y + down][x + right] = true;
      if (cell.colSpan === 1 && y + cell.rowSpan === head.rows.length) found[x] = cell;
      x += cell.colSpan;
    }
  });
  return found;
}

function cellAt(row, column) {
  let x = 0;
  for (const cell of row.cells) if (column < (x += cell.colSpan)) return cell;
}

// Return what a cell is sorted by: data-sort, else the number that its text begins with, else the text; null: missing.
function keyOf(cell) {
  if (!cell || cell.matches(".missing") || cell.querySelector(".missing")) return null;
  const text = (cell.dataset.sort ?? cell.textContent).trim().replaceAll("\u2212", "-");
  const number = cell.matches("td") && text.match(/^[+-]?[\d,]*\.?\d+/);
  return number ? Number(number[0].replaceAll(",", "")) : ["", "–"].includes(text) ? null : text;
}

function compare(a, b) {
  const numbers = typeof a === "number" && typeof b === "number";
  return numbers ? b - a : String(a).localeCompare(String(b), "en", { numeric: true });
}

function sort(table, rows, column, head) {
  const asWritten = head.ariaSort && head.dataset.turned;
  const turn = head.ariaSort && !head.dataset.turned ? -1 : 1;
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) {
    other.removeAttribute("aria-sort");
    delete other.dataset.turned;
  }
  const keyed = rows.map((row) => [keyOf(cellAt(row, column)), row]);
  if (!asWritten) {
    keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : turn * compare(a, b)));
    const rising = (typeof keyed[0][0] === "number") === turn < 0;
    head.ariaSort = rising ? "ascending" : "descending";
    if (turn < 0) head.dataset.turned = "yes";
  }
  table.classList.toggle("sorted", !asWritten);
  table.tBodies[0].prepend(...keyed.map(([, row]) => row));
}

// Above a long table: a field that leaves the rows that hold what is typed into it.
function addFilter(table, rows) {
  const label = document.createElement("label"), field = document.createElement("input");
  field.type = "search";
  field.addEventListener("input", () => {
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(field.value.trim().toLowerCase());
  });
  label.className = "filter";
  label.append(`${rows.length} rows; only those with `, field);
  (table.closest(".scroll") ?? table).before(label);
}

for (const table of document.querySelectorAll("table")) {
  const rows = [...(table.tBodies[0]?.rows ?? [])].filter((row) => !row.matches(".total"));
  if (!table.tHead || rows.length < 2) continue;
  if (rows.length > 20) addFilter(table, rows);
  heads(table.tHead).forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, rows, column, head));
    head.append(button);
  });
}
