"use strict";

// Numbers fall first, texts rise first; a second choice of the same heading turns the order round.
function sortBy(table, column, heading) {
  const body = table.tBodies[0], rows = [...body.rows];
  const value = (row) => row.cells[column].dataset.value;
  const numeric = rows.every((row) => value(row) !== "" && Number.isFinite(Number(value(row))));
  const before = heading.getAttribute("aria-sort");
  const order = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
  const sign = order === "ascending" ? 1 : -1;
  rows.sort((a, b) => sign * (numeric ? value(a) - value(b) : value(a).localeCompare(value(b))));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, column, heading));
    heading.append(button);
  });
}
document.documentElement.classList.add("live");
