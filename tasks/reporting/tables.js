// Tables of a page that can be sorted by their headers, and filtered by a text and by what stands in one column.
"use strict";
for (const box of document.querySelectorAll("[data-table]")) {
  const table = box.querySelector("table"), body = table.tBodies[0], rows = Array.from(body.rows);
  const headers = Array.from(table.tHead.rows[0].cells), said = box.querySelector("[role=status]");
  const text = box.querySelector("input[type=search]"), state = box.querySelector("select");
  const value = (row, place) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
  const compare = (one, other) => one !== "" && other !== "" && !isNaN(one) && !isNaN(other)
    ? one - other : one.localeCompare(other, "en", { numeric: true });

  headers.forEach((header, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const up = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach(each => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((one, other) => (up ? 1 : -1) * compare(value(one, place), value(other, place)));
      body.append(...rows);
    });
  });

  const states = headers.findIndex(header => header.dataset.column === "state");
  if (state && states >= 0) {
    for (const one of new Set(rows.map(row => value(row, states)))) state.add(new Option(one, one));
  }
  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every(word => content.includes(word))
        || Boolean(state && state.value && value(row, states) !== state.value);
      shown += !row.hidden;
    }
    said.textContent = (shown === rows.length ? "" : `${shown} of `) + `${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
  }
  const form = box.querySelector("form");
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", filter);
  filter();
}
