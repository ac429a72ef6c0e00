"use strict";
// Tables: a click on a heading sorts (numbers as numbers, what is missing last), a filter keeps rows with all its words.
const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.sort ?? cell.textContent.trim();
};
const compare = (a, b) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
};
const sort = (table, column, heading) => {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const filled = (row) => value(row, column) !== "";
  const rows = [...table.tBodies[0].rows];
  const order = (a, b) => {
    const sign = down && filled(a) && filled(b) ? -1 : 1;
    return sign * compare(value(a, column), value(b, column));
  };
  table.tBodies[0].append(...rows.sort(order));
};
const filter = (table, words) => {
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
};
for (const box of document.querySelectorAll(".table")) {
  const table = box.querySelector("table");
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.querySelector("button")?.addEventListener("click", () => sort(table, column, heading));
  });
  const input = box.querySelector(".filter");
  input?.addEventListener("input", () => filter(table, input.value.toLowerCase().split(/\s+/).filter(Boolean)));
}
